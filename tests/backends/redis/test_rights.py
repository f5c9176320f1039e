"""Rights of a Redis user: exactly those of the page are enough, and one that is missing never leaves half a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tenure
from tenure import BatchType, Store
from tenure.errors import PermissionDenied
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.redis_plugin import need_redis
from tenure_testkit.waiting import PATIENCE

PAGE = Path(__file__).parents[3] / "core/docs/reference/stores.md"


def needed() -> list[str]:
    """The rights as the page about stores gives them to an operator."""
    line = next(line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("ACL SETUSER app"))
    return line.split("~{leasehold}:* ", 1)[1].split()


READS = ["evalsha", "time", "get", "del", "hget", "hmget", "zscore", "zcard", "zrange", "zrangebylex", "zrangebyscore"]
READS += ["xread", "xlen"]
WRITES = ["set", "hset", "hdel", "zadd", "zrem", "xadd", "xrange"]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    need_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def user(server: RedisServer) -> Iterator[Callable[..., object]]:
    """Changes the rights of the user ``app``, who has those that the page lists and no others."""
    server.ask("FLUSHALL")
    server.ask("ACL", "SETUSER", "app", "reset", "on", ">pw", "~{leasehold}:*", *needed())
    yield lambda *rules: server.ask("ACL", "SETUSER", "app", *rules)
    server.ask("ACL", "DELUSER", "app")


@pytest.fixture
def store(server: RedisServer, user: Callable[..., object]) -> Iterator[Store]:
    with tenure.connect(f"redis://app:pw@127.0.0.1:{server.port}", timeout=PATIENCE) as store:
        yield store


def state(server: RedisServer) -> object:
    """Everything in the store, byte for byte, but for the key by which opening it tried a write: it lives a second."""
    tag = "{leasehold}:"
    passing = (f"{tag}once", f"{tag}op:rights")
    keys = sorted(key for key in server.ask("KEYS", f"{tag}*") if not key.decode().startswith(passing))
    return [(key, server.ask("DUMP", key)) for key in keys]


def test_the_rights_of_the_page_are_enough(store: Store) -> None:
    with store.watch("") as watch:
        assert watch.next(PATIENCE).type is BatchType.SNAPSHOT  # type: ignore[union-attr]
        assert watch.next(PATIENCE).type is BatchType.SYNCED  # type: ignore[union-attr]
        lease = store.lease(5.0)
        store.put("leased", b"", lease=lease)
        store.transaction().if_absent("b").put("a", b"1").put("b", b"1").commit()
        store.transaction().if_exists("b").put("leased", b"", lease=lease).delete("b").commit()
        lease.refresh()
        assert [item.key for item in store.list("")] == ["a", "leased"]
        assert store.get_many(["a", "b"]).items[1] is None
        assert store.leases()
        assert store.server_info().product
        lease.revoke()
        assert store.delete_prefix("a").deleted == 1
        ended = store.lease(1.0)
        store.put("ended", b"", lease=ended)
        ended.abandon()
        deleted = [event.key for event in events(watch) if event.type == "delete"]
        assert deleted == ["b", "leased", "a", "ended"]


def events(watch: tenure.Watch) -> Iterator[tenure.Event]:
    """Until the key of the last lease is gone."""
    for batch in watch:
        yield from batch.events
        if any(event.key == "ended" and event.type == "delete" for event in batch.events):
            return


@pytest.mark.parametrize("name", [*WRITES, "zrangebylex"])
def test_a_write_without_one_right_is_not_half_applied(
    server: RedisServer, store: Store, user: Callable[..., object], name: str
) -> None:
    lease, other = store.lease(60.0), store.lease(60.0)
    store.put("here/1", b"1", lease=lease)
    store.put("here/2", b"2", lease=lease)
    before = state(server)
    user(f"-{name}")
    writes: list[Callable[[], object]] = [
        store.transaction().put("here/1", b"x", lease=other).put("here/3", b"3", lease=other).delete("here/2").commit,
        lambda: store.delete_prefix("here/"),
        lambda: store.revoke_lease(lease.id),
    ]
    for write in writes:
        try:
            write()
        except PermissionDenied:
            assert state(server) == before
        else:
            # This one does without the right. What it changed is whole, which the other store below would notice.
            before = state(server)
    user(f"+{name}")
    found = {item.key: item.value for item in store.list("here/")}
    assert set(found) == {key for key in ("here/1", "here/2", "here/3") if store.get(key) is not None}


@pytest.mark.parametrize("name", [*WRITES, *READS])
def test_opening_names_the_right_that_is_missing(server: RedisServer, user: Callable[..., object], name: str) -> None:
    user(f"-{name}")
    with pytest.raises(PermissionDenied, match=rf"\+{name}"):
        tenure.connect(f"redis://app:pw@127.0.0.1:{server.port}", timeout=PATIENCE)
