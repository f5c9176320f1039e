"""SQLite's error codes in Tenure's words.

Everything raised before COMMIT was sent is surely not applied; what COMMIT itself may leave open is decided
where it is called (``transactions``).
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from tenure.errors import (
    DeadlineExceeded,
    LimitExceeded,
    PermissionDenied,
    PluginError,
    StoreCorrupted,
    StoreFull,
    TenureError,
    Unavailable,
)

# By number: the module has names for the extended codes only since Python 3.11, and not for all of them.
_ERROR, _PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _INTERRUPT, _IOERR = 1, 3, 5, 6, 7, 8, 9, 10
_CORRUPT, _FULL, _CANTOPEN, _TOOBIG, _AUTH, _NOTADB = 11, 13, 14, 18, 23, 26
_READONLY_DBMOVED = 8 | 4 << 8
_IOERR_SHMSIZE = 10 | 19 << 8


class NotDescribed(sqlite3.DatabaseError):
    """The one row of the table ``store`` is gone: another program removed it."""


def described(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The row of a query of the table ``store``, which always has one."""
    if row is None:
        raise NotDescribed("its description of itself is missing")
    return row


def is_busy(error: sqlite3.Error) -> bool:
    """Another connection holds the lock that was asked for; trying again is all there is to do."""
    return _code(error) & 0xFF in (_BUSY, _LOCKED)


def translate(error: sqlite3.Error, path: str) -> TenureError:
    """What to raise for ``error``, which came up at the file ``path``."""
    code = _code(error)
    what = f"{path}: {error}"
    if code == _READONLY_DBMOVED:
        return Unavailable(f"{path} was moved or removed while it was open; trying again opens what is there now")
    if code == _IOERR_SHMSIZE:
        return _full(path, error)
    primary = code & 0xFF
    if primary == _ERROR and str(error).startswith("no such "):
        return corrupted(path, f"it lacks a part of a store: {error}")
    if primary in (_BUSY, _LOCKED):
        return DeadlineExceeded(f"{path} was locked by another process for the whole time the call had")
    if primary == _FULL:
        return _full(path, error)
    if primary in (_PERM, _READONLY, _AUTH):
        return _denied(path, error)
    if primary == _CANTOPEN:
        return _cannot_open(path, error)
    if primary in (_CORRUPT, _NOTADB) or isinstance(error, NotDescribed):
        return corrupted(path, str(error))
    if primary == _INTERRUPT:
        return Unavailable(f"{path}: the operation was interrupted because the store was closed")
    if primary == _NOMEM:
        return Unavailable(f"{what}: no memory left")
    if primary == _IOERR:
        return Unavailable(f"{what} ({getattr(error, 'sqlite_errorname', 'input/output error')}): check the disk")
    if primary == _TOOBIG:
        return LimitExceeded(f"{what}: SQLite was built with a smaller limit than this value or transaction")
    return PluginError(f"{what} (unexpected {type(error).__name__}, code {code})")


def corrupted(path: str, why: str) -> StoreCorrupted:
    return StoreCorrupted(
        f"{path} can't be used as a store ({why}); it was left as it is. Name another file, or move this one "
        "together with its -wal and -shm files out of the way, or bring back a backup"
    )


def _full(path: str, error: sqlite3.Error) -> TenureError:
    return StoreFull(f"{path}: no room left on the disk or in its quota ({error}); nothing was changed")


def require_access(path: str) -> None:
    """Raise what tells why ``path`` can't be opened for writing, if that can be seen from outside.

    SQLite would open a file that it can't write, and say so only at the first write.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise Unavailable(f"{path}: its folder {folder} doesn't exist (any more)")
    may_not = not os.access(folder, os.W_OK | os.X_OK)  # SQLite makes two more files beside it
    if may_not or (os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)):
        raise _denied(path, "not writable")


def _denied(path: str, why: object) -> TenureError:
    return PermissionDenied(
        f"{path}: {why}; this process (user id {os.geteuid()}) needs to write the file and its folder, "
        "on a filesystem that isn't mounted read-only"
    )


def _cannot_open(path: str, error: sqlite3.Error) -> TenureError:
    try:
        require_access(path)
    except TenureError as exc:
        return exc
    return Unavailable(f"{path}: {error}; check the path, and the limits of open files")


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", None) or 0)
