"""One key, the keys below a prefix, and the store's present revision, by plain GETs."""

from __future__ import annotations

import json
from binascii import a2b_base64
from operator import attrgetter
from typing import Any

from tenure.errors import StoreCorrupted
from tenure.spi.types import KeyValue, Page, ReadResult
from tenure_consul.connection import Answer
from tenure_consul.keys import Layout, url_path
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

_BYTE_ORDER = attrgetter("key")


def get(pool: Pool, layout: Layout, revisions: Revisions, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    before = revisions.known
    action = "reading"
    answer = pool.read(f"/v1/kv/{url_path(layout.path(key))}", timeout=timeout, action=action, allow=(404,))
    if answer.status == 404:
        # What isn't there is told with the index of all keys.
        return ReadResult(None, revisions.of_store(answer.index, before=before))
    return ReadResult(item_of(key, entries(answer)[0]), revisions.of_read(answer.index, before=before))


def list_page(
    pool: Pool,
    layout: Layout,
    revisions: Revisions,
    prefix: str,
    *,
    after: str | None,
    limit: int | None,
    timeout: float,
) -> Page:
    """``Backend.list``: Consul answers the whole prefix at once, as it was at one point in time."""
    before = revisions.known
    answer = pool.read(list_path(layout, prefix), "recurse", timeout=timeout, action="listing", allow=(404,))
    items = items_of(layout, answer)
    if after is not None:
        first = after.encode()
        items = [item for item in items if item.key.encode() > first]
    more = limit is not None and len(items) > limit
    chosen = items[:limit] if more else items
    return Page(tuple(chosen), more, revisions.of_read(answer.index, before=before))


def present(pool: Pool, layout: Layout, revisions: Revisions, *, timeout: float) -> int:
    """The store's revision now."""
    before = revisions.known
    answer = pool.read(f"/v1/kv/{layout.nothing}", timeout=timeout, action="asking for the revision", allow=(404,))
    return revisions.of_store(answer.index, before=before)


def list_path(layout: Layout, prefix: str) -> str:
    """The path for everything below a prefix."""
    return f"/v1/kv/{url_path(layout.path(prefix))}"


def items_of(layout: Layout, answer: Answer) -> list[KeyValue]:
    """The items of a recursive answer, in byte order."""
    if answer.status == 404:
        return []
    items = []
    for entry in entries(answer):
        key = layout.key(entry["Key"])
        if key is not None:
            items.append(item_of(key, entry))
    # Code points sort like UTF-8 does.
    items.sort(key=_BYTE_ORDER)
    return items


def item_of(key: str, entry: dict[str, Any]) -> KeyValue:
    """A key as Consul describes it."""
    value = entry["Value"]
    return KeyValue(
        key,
        a2b_base64(value) if value else b"",
        entry["CreateIndex"],
        entry["ModifyIndex"],
        entry.get("Session") or None,
    )


def entries(answer: Answer) -> list[dict[str, Any]]:
    """The list in an answer. Raises ``StoreCorrupted`` for anything else."""
    try:
        found = json.loads(answer.body)
    except ValueError as exc:
        raise StoreCorrupted(f"Consul at {answer.where} answered with something that isn't JSON") from exc
    if found is None:
        return []
    if not isinstance(found, list):
        raise StoreCorrupted(f"Consul at {answer.where} answered with a {type(found).__name__} in place of a list")
    return found
