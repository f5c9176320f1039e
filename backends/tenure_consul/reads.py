"""One key, several keys, the keys below a prefix, and the store's present revision."""

from __future__ import annotations

import json
from binascii import a2b_base64
from bisect import bisect_right
from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline, shorten
from tenure.spi.types import KeyValue, ListRequest, MultiReadResult, Page, ReadResult
from tenure_consul.access import Access
from tenure_consul.connection import Answer
from tenure_consul.errors import is_denied, refused, refused_operations
from tenure_consul.history_evidence import identity_of
from tenure_consul.keys import Layout, url_path
from tenure_consul.pool import Pool
from tenure_consul.revisions import Revisions

_KEY = itemgetter(0)
_NAME = itemgetter("Key")
_READING = "reading keys"


def get(pool: Pool, layout: Layout, revisions: Revisions, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    before = revisions.known
    action = "reading"
    answer = pool.read(f"/v1/kv/{url_path(layout.path(key))}", timeout=timeout, action=action, allow=(404,))
    if answer.status == 404:
        # What isn't there is told with the index of all keys.
        return ReadResult(None, revisions.of_store(index_of(answer), before=before))
    entry = only_entry(answer)
    revisions.history.note(key, identity_of(entry))
    return ReadResult(item_of(key, entry), revisions.of_read(index_of(answer, [entry]), before=before))


def get_many(
    pool: Pool, layout: Layout, revisions: Revisions, keys: Sequence[str], *, timeout: float
) -> MultiReadResult:
    """``Backend.get_many``, by a transaction of reads.

    Older versions refuse it because of each key that is missing. Those are then checked to be missing still.
    """
    deadline = Deadline(timeout)
    before = revisions.known
    missing: set[int] = set()
    while True:
        verbs = [
            {"KV": {"Verb": "check-not-exists" if number in missing else "get", "Key": layout.path(key)}}
            for number, key in enumerate(keys)
        ]
        body = json.dumps(verbs, ensure_ascii=False, separators=(",", ":")).encode()
        target = pool.target("/v1/txn", read=True)
        answer = pool.call("PUT", target, body, timeout=deadline.remaining(), action=_READING, allow=(409,))
        if answer.status == 200:
            return _many(layout, revisions, keys, answer, before)
        failed = refused_operations(answer, action=_READING, write=False)
        if not failed or any(is_denied(what) for _, what in failed):
            raise refused(answer.status, answer.body, action=_READING, where=answer.where, write=False)
        missing.symmetric_difference_update(number for number, _ in failed)
        deadline.check(f"{_READING}: others kept making and deleting them")


def _many(layout: Layout, revisions: Revisions, keys: Sequence[str], answer: Answer, before: int) -> MultiReadResult:
    try:
        found = {result["KV"]["Key"]: result["KV"] for result in json.loads(answer.body)["Results"] or ()}
    except (ValueError, KeyError, TypeError) as exc:
        raise not_consuls(answer, "a transaction of reads was answered with something else") from exc
    there = {key: found[path] for key in keys if (path := layout.path(key)) in found}
    revisions.history.note_all({key: identity_of(entry) for key, entry in there.items()})
    newest = max((entry["ModifyIndex"] for entry in there.values()), default=0)
    items = tuple(item_of(key, there[key]) if key in there else None for key in keys)
    return MultiReadResult(items, revisions.of_read(newest, before=before))


def list_page(
    pool: Pool, layout: Layout, revisions: Revisions, access: Access, request: ListRequest, *, timeout: float
) -> Page:
    """``Backend.list``: Consul answers the whole prefix at once, as it was at one point in time."""
    deadline = Deadline(timeout)
    before = revisions.known
    answer = pool.read(list_path(layout, request.prefix), "recurse", timeout=timeout, action="listing", allow=(404,))
    access.check(pool, layout.path(request.prefix), answer, action="listing", deadline=deadline)
    found = by_key(layout, answer)
    index = index_of(answer, found.entries)
    revisions.history.note_all(found.identities())
    wanted = found.after(request.after)
    more = request.limit is not None and len(wanted.keys) > request.limit
    items = wanted.first(request.limit).items(values=not request.keys_only)
    return Page(tuple(items), more, revisions.of_read(index, before=before))


def present(pool: Pool, layout: Layout, revisions: Revisions, *, timeout: float) -> int:
    """The store's revision now."""
    before = revisions.known
    answer = pool.read(f"/v1/kv/{layout.nothing}", timeout=timeout, action="asking for the revision", allow=(404,))
    return revisions.of_store(index_of(answer), before=before)


def list_path(layout: Layout, prefix: str) -> str:
    """The path for everything below a prefix."""
    return f"/v1/kv/{url_path(layout.path(prefix))}"


class Listed(NamedTuple):
    """Keys in byte order, and beside each what Consul says of it."""

    keys: list[str]
    entries: list[dict[str, Any]]

    def after(self, key: str | None) -> Listed:
        """Those greater than ``key``; all without one."""
        return self if key is None else self._part(bisect_right(self.keys, key), None)

    def first(self, limit: int | None) -> Listed:
        """So many of them, or all."""
        return self if limit is None else self._part(None, limit)

    def among(self, keys: Container[str]) -> Listed:
        """Those of ``keys``."""
        found = [(key, entry) for key, entry in zip(self.keys, self.entries, strict=True) if key in keys]
        return Listed([key for key, _ in found], [entry for _, entry in found])

    def _part(self, start: int | None, end: int | None) -> Listed:
        return Listed(self.keys[start:end], self.entries[start:end])

    def identities(self) -> dict[str, int]:
        """By each key the identity of its last put."""
        return dict(zip(self.keys, map(identity_of, self.entries), strict=True))

    def items(self, *, values: bool = True) -> list[KeyValue]:
        """The items; with empty values where none are wanted."""
        new, decoded = tuple.__new__, a2b_base64
        return [
            new(
                KeyValue,
                (
                    key,
                    decoded(value) if values and (value := entry["Value"]) else b"",
                    entry["CreateIndex"],
                    entry["ModifyIndex"],
                    entry.get("Session") or None,
                ),
            )
            for key, entry in zip(self.keys, self.entries, strict=True)
        ]


def by_key(layout: Layout, answer: Answer) -> Listed:
    """The keys in an answer with what Consul says of them."""
    if answer.status == 404:
        return Listed([], [])
    there = entries(answer)
    keys = layout.plain_keys(map(_NAME, there))
    # Code points sort like UTF-8 does. Consul sorts by its names for keys, which is nearly always the same order.
    if keys is not None and all(before < key for before, key in pairwise(keys)):
        return Listed(keys, there)
    decoded = ((layout.key(_NAME(entry)), entry) for entry in there)
    found = sorted(((key, entry) for key, entry in decoded if key is not None), key=_KEY)
    return Listed([key for key, _ in found], [entry for _, entry in found])


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


def names(answer: Answer) -> list[str]:
    """What Consul calls the keys in an answer that lists names alone."""
    return [] if answer.status == 404 else [str(name) for name in _list_in(answer)]


def entries(answer: Answer) -> list[dict[str, Any]]:
    """The list of keys or sessions in an answer. Raises ``Unavailable`` for anything else."""
    return _list_in(answer)


def only_entry(answer: Answer) -> dict[str, Any]:
    """The entry of the one key that was asked for, which is there."""
    found = entries(answer)
    if not found:
        raise not_consuls(answer, "a key that is there was answered with nothing")
    return found[0]


def index_of(answer: Answer, shown: Iterable[dict[str, Any]] = ()) -> int:
    """The index of an answer, which is no lower than that of any key ``shown`` in it.

    A watch that went on with a wrong one would take what comes next for changes of before, and not tell them.
    """
    index = answer.index
    if index is None:
        said = shorten(answer.headers.get("X-Consul-Index") or "nothing")
        raise not_consuls(answer, f"its index (X-Consul-Index) is {said}")
    newest = max((entry["ModifyIndex"] for entry in shown), default=0)
    if index < newest:
        raise not_consuls(answer, f"its index (X-Consul-Index) is {index}, lower than the {newest} of a key in it")
    return index


def not_consuls(answer: Answer, why: str) -> Unavailable:
    """The error for an answer that no Consul gives. A proxy may come and go, so it is worth another attempt."""
    return Unavailable(
        f"what answers at {answer.where} isn't Consul, or something between changes its answers: {why}; check the URL, "
        "and proxies on the way"
    )


def _list_in(answer: Answer) -> list[Any]:
    try:
        found = json.loads(answer.body)
    except ValueError as exc:
        raise not_consuls(answer, "it isn't JSON") from exc
    if not isinstance(found, list):
        raise not_consuls(answer, f"it is a {type(found).__name__} in place of a list")
    return found
