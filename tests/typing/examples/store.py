"""Keys, transactions, leases and watches, as an application uses them."""

from __future__ import annotations

from typing import reveal_type

import tenure


def work(url: str) -> None:
    with tenure.connect(url, require=["durable"], timeout=2) as store:
        reveal_type(store)  # reveals: tenure._client.store.Store
        done = store.put("a", b"1")
        reveal_type(done.revision)  # reveals: int
        item = store.get("a")
        reveal_type(item.value if item else None)  # reveals: bytes | None
        if item is not None:
            store.put_if_unchanged("a", item.value + b"!", revision=item.mod_revision)
            reveal_type(item.lease_id)  # reveals: str | None
        reveal_type(store.get_with_revision("a").revision)  # reveals: int
        listing = store.list("", limit=10)
        reveal_type(listing.keys)  # reveals: tuple[str, ...]
        for each in listing:
            reveal_type(each.key)  # reveals: str
        for each in store.scan("", page_size=100):
            reveal_type(each.value)  # reveals: bytes
        reveal_type(store.delete_prefix("a/").deleted)  # reveals: int
        answer = store.transaction().if_absent("b").put("b", b"2").delete("a").commit(timeout=1)
        reveal_type(answer)  # reveals: tenure.spi.types.CommitResult
        reveal_type(store.capabilities.durable)  # reveals: bool
        reveal_type(store.capabilities.min_ttl)  # reveals: float
        reveal_type(store.native)  # reveals: object


def hold(store: tenure.Store) -> None:
    def lost(lease: tenure.Lease) -> None:
        print(lease.reason)

    with store.lease(10, on_lost=lost) as lease:
        reveal_type(lease.ttl)  # reveals: float
        reveal_type(lease.state)  # reveals: tenure.leases.lease.LeaseState
        store.put("held", b"", lease=lease)
        lease.ensure_valid(min_remaining=1)


def follow(store: tenure.Store) -> None:
    with store.watch("a/", previous=True) as watch:
        for batch in watch:
            reveal_type(batch.type)  # reveals: tenure.watch.events.BatchType
            for event in batch.events:
                reveal_type(event.item.value if event.item else None)  # reveals: bytes | None
                reveal_type(event.type)  # reveals: tenure.watch.events.EventType
        reveal_type(watch.next(timeout=1))  # reveals: tenure.watch.events.Batch | None
        reveal_type(watch.error)  # reveals: tenure.errors.TenureError | None


def handle(store: tenure.Store) -> None:
    try:
        store.put("a", b"1")
    except tenure.Conflict as conflict:
        reveal_type(conflict.revision)  # reveals: int
    except tenure.TenureError as error:
        reveal_type(error.retry)  # reveals: tenure.errors.RetryAdvice


def wrong(store: tenure.Store) -> None:
    store.put("a", "text")  # error: arg-type
    store.get(7)  # error: arg-type
    store.lease("ten")  # error: arg-type
    store.put("a", b"1", ttl=10)  # error: call-arg
    print(store.get("a").value)  # error: union-attr
