"""Reading: one statement, which sees the store as it was at one moment.

A statement also says whether a lease is overdue. Then the leases are ended first and it is asked once more, so that
nobody gets a key whose lease has ended, and what is read agrees with its revision.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tenure.errors import DeadlineExceeded
from tenure.spi import KeyValue, Page, ReadResult
from tenure_postgresql import encoding
from tenure_postgresql.connection import Row, Statement
from tenure_postgresql.context import BackendContext

_LAST = chr(0x10FFFF)
_BEYOND = _LAST * 351  # greater than any key: those have at most 1,400 bytes, which are 350 of these


def get(context: BackendContext, key: str, *, timeout: float) -> ReadResult:
    """``Backend.get``."""
    row = ask(context, context.statements.get, [encoding.text(key)], timeout=timeout, action="reading a key")[0]
    return ReadResult(_item(row), encoding.number(row[0]))


def list_page(context: BackendContext, prefix: str, *, after: str | None, limit: int | None, timeout: float) -> Page:
    """``Backend.list``: all that was asked for, at one revision."""
    most = None if limit is None else encoding.bigint(limit + 1)
    args = [encoding.text(prefix), encoding.text(after or ""), encoding.text(end_of(prefix)), most]
    rows = ask(context, context.statements.list, args, timeout=timeout, action="listing keys")
    found = items(rows)
    more = limit is not None and len(found) > limit
    return Page(found[:limit] if more else found, has_more=more, revision=encoding.number(rows[0][0]))


def items(rows: list[Row]) -> tuple[KeyValue, ...]:
    """The items of a list's rows."""
    return tuple(item for item in map(_item, rows) if item is not None)


def ask(
    context: BackendContext, statement: Statement, args: Sequence[bytes | None], *, timeout: float, action: str
) -> list[Row]:
    """The rows of a statement whose second column says that a lease is overdue."""
    until = time.monotonic() + timeout
    rows = context.rows(statement, args, timeout=timeout, action=action)
    if encoding.flag(rows[0][1]):
        context.tick(timeout=_left(until, action), action=action)
        rows = context.rows(statement, args, timeout=_left(until, action), action=action)
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


def _left(until: float, action: str) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded(f"{action}: the time was up")
    return left
