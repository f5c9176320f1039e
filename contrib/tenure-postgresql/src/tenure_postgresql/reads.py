"""Reading: one statement, which sees the store as it was at one moment.

A statement also says whether a lease is overdue. Then the leases are ended first and it is asked once more, so that
nobody gets a key whose lease has ended, and what is read agrees with its revision.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenure.plugin_kit import Deadline
from tenure.spi import KeyValue, ListRequest, MultiReadResult, Page, ReadResult, Snapshot, WatchRequest
from tenure_postgresql import encoding
from tenure_postgresql.connection import Row, Statement
from tenure_postgresql.context import BackendContext

_LEAST = "\x01"  # keys have no NUL
_LAST = chr(0x10FFFF)
_BEYOND = _LAST * 351  # greater than any key: those have at most 1,400 bytes, which are 350 of these


def get(context: BackendContext, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    row = ask(context, context.statements.get, [encoding.text(key)], timeout=timeout, action="reading a key")[0]
    return ReadResult(_item(row), encoding.number(row[0]))


def get_many(context: BackendContext, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
    """``Backend.get_many``: one statement, so one revision."""
    rows = ask(context, context.statements.get_many, [encoding.texts(keys)], timeout=timeout, action="reading keys")
    found = {item.key: item for item in items(rows)}
    return MultiReadResult(tuple(map(found.get, keys)), encoding.number(rows[0][0]))


def list_page(context: BackendContext, request: ListRequest, *, timeout: float) -> Page:
    """``Backend.list``: all that was asked for, at one revision."""
    statement = context.statements.list_keys if request.keys_only else context.statements.list
    most = None if request.limit is None else encoding.bigint(request.limit + 1)
    args = _between(request.prefix, request.after or "", end_of(request.prefix), most)
    rows = ask(context, statement, args, timeout=timeout, action="listing keys")
    found = items(rows)
    more = request.limit is not None and len(found) > request.limit
    return Page(found[: request.limit] if more else found, has_more=more, revision=encoding.number(rows[0][0]))


def snapshot(context: BackendContext, request: WatchRequest, *, timeout: float) -> Snapshot:
    """The state that a watch begins with."""
    end = request.prefix + _LEAST if request.exact else end_of(request.prefix)
    args = _between(request.prefix, "", end, None)
    rows = ask(context, context.statements.list, args, timeout=timeout, action="watching")
    return Snapshot(items(rows), encoding.number(rows[0][0]))


def _between(first: str, after: str, end: str, most: bytes | None) -> list[bytes | None]:
    return [encoding.text(first), encoding.text(after), encoding.text(end), most]


def items(rows: list[Row]) -> tuple[KeyValue, ...]:
    """The items of a list's rows."""
    return tuple(item for item in map(_item, rows) if item is not None)


def ask(
    context: BackendContext, statement: Statement, args: Sequence[bytes | None], *, timeout: float, action: str
) -> list[Row]:
    """The rows of a statement whose second column says that a lease is overdue."""
    deadline = Deadline(timeout)
    rows = context.rows(statement, args, timeout=timeout, action=action)
    if encoding.flag(rows[0][1]):
        context.tick(timeout=deadline.remaining(), action=action)
        rows = context.rows(statement, args, timeout=deadline.remaining(), action=action)
    return rows


def end_of(prefix: str) -> str:
    """The least text that is greater than everything with this prefix, in byte order."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return _BEYOND
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates are no characters


def _item(row: Row) -> KeyValue | None:
    key, value, created, modified, lease = row[2:7]
    if key is None or value is None:
        return None
    owner = None if lease is None else lease.decode()
    return KeyValue(key.decode(), value, encoding.number(created), encoding.number(modified), owner)
