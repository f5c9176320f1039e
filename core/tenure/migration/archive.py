"""A namespace in a file: JSON lines, so that people, ``jq`` and version control can read it.

The first line is the header, each other line one key in byte order::

    {"tenure_export": 1, "keys": 2, "leased": 1, "bytes": 7, "source": "...", "time": "...", "one_point_in_time": true}
    {"key": "greeting", "value": "hello"}
    {"key": "web/1", "base64": "/wA=", "lease": "694d..."}

``value`` is text, ``base64`` has the bytes of a value that isn't. ``lease`` says that the key hung on a lease. The
header counts the keys, so a file that was cut off is noticed.
"""

from __future__ import annotations

import base64
import binascii
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from tenure._client.store import Store
from tenure._failed import Failed
from tenure._text import decode, iso_time
from tenure.errors import Compacted, ConfigError
from tenure.spi.types import KeyValue

VERSION = 1
_MARK = "tenure_export"
_ATTEMPTS = 3
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: how many ``keys`` follow, how many of them were ``leased``, and ``bytes`` of values.

    ``one_point_in_time`` tells whether all keys were read at one revision.
    """

    keys: int
    leased: int
    bytes: int
    source: str
    time: str
    one_point_in_time: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a file; ``lease`` is ``None`` for a key that stays by itself."""

    key: str
    value: bytes
    lease: str | None


def export(
    store: Store, out: IO[bytes], spool: IO[bytes], *, prefix: str = "", advance: Callable[[int], object]
) -> Header:
    """Write the keys of ``store`` that start with ``prefix``.

    Args:
        store: the store to read.
        out: where the file goes.
        spool: an empty temporary file: the header has counts, and they are known at the end.
        prefix: text that the keys start with.
        advance: called with the number of keys read so far.

    Returns:
        The header that was written.

    Raises:
        Failed: the store dropped the history of the read in each of three attempts.
        Unavailable: the store can't be reached.
    """
    for _ in range(_ATTEMPTS):
        spool.seek(0)
        spool.truncate()
        try:
            header = _read(store, spool, prefix, advance)
        except Compacted:
            continue
        spool.seek(0)
        out.write(_line({_MARK: VERSION} | _fields(header)))
        shutil.copyfileobj(spool, out)
        return header
    raise Failed(
        f"exporting {store.url}: the store drops its history faster than its keys can be read ({_ATTEMPTS} attempts); "
        "export by prefixes, or let the store keep more history"
    )


def _read(store: Store, spool: IO[bytes], prefix: str, advance: Callable[[int], object]) -> Header:
    keys = leased = size = 0
    for item in store.scan(prefix):
        spool.write(_line(_record(item)))
        keys += 1
        leased += item.lease_id is not None
        size += len(item.value)
        advance(keys)
    return Header(keys, leased, size, store.url, iso_time(), store.capabilities.consistent_pagination)


def _record(item: KeyValue) -> dict[str, Any]:
    text, encoding = decode(item.value)
    record = {"key": item.key, "value" if encoding == "utf-8" else "base64": text}
    return record if item.lease_id is None else {**record, "lease": item.lease_id}


def _fields(header: Header) -> dict[str, Any]:
    return {name: getattr(header, name) for name in Header.__slots__}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


class Archive:
    """A file that :func:`export` wrote, or that somebody wrote by hand. All of it is checked before it can be used.

    Args:
        file: the file, at its beginning; it must be seekable.
        name: what messages call it.

    Raises:
        ConfigError: it isn't such a file, its version is unknown, it was cut off, or a line is wrong.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self.header = self._header()
        self._begin = file.tell()
        seen: set[str] = set()
        leased = size = 0
        for number, entry in enumerate(self._entries(), start=2):
            if entry.key in seen:
                raise self._wrong(number, f"the key {entry.key!r} is there twice; leave out one of them")
            seen.add(entry.key)
            leased += entry.lease is not None
            size += len(entry.value)
        if len(seen) != self.header.keys:
            raise ConfigError(
                f"reading {name}: the header counts {self.header.keys:,} keys and {len(seen):,} are there; the file "
                "was cut off or changed. Get the whole file, or correct the count if the change was meant"
            )
        self.leased, self.bytes = leased, size

    def __iter__(self) -> Iterator[Entry]:
        self._file.seek(self._begin)
        return self._entries()

    def _entries(self) -> Iterator[Entry]:
        for number, line in enumerate(self._file, start=2):
            if line.strip():
                yield self._entry(number, line)

    def _header(self) -> Header:
        record = self._object(1, self._file.readline())
        version = record.get(_MARK)
        if version is None:
            raise self._wrong(1, f"it has no {_MARK!r}: this is no export of Tenure; give another file")
        if version != VERSION:
            raise self._wrong(1, f"the export has version {version!r}, and this Tenure reads {VERSION}; update Tenure")
        keys = record.get("keys")
        if not isinstance(keys, int) or isinstance(keys, bool) or keys < 0:
            raise self._wrong(1, f"'keys' is the number of keys, not {keys!r}")
        return Header(
            keys,
            leased=_count(record, "leased"),
            bytes=_count(record, "bytes"),
            source=str(record.get("source", "")),
            time=str(record.get("time", "")),
            one_point_in_time=record.get("one_point_in_time") is True,
        )

    def _entry(self, number: int, line: bytes) -> Entry:
        record = self._object(number, line)
        key, lease = record.get("key"), record.get("lease")
        if not isinstance(key, str):
            raise self._wrong(number, f"'key' is text, not {key!r:.{_SHOWN}}")
        if ("value" in record) == ("base64" in record):
            raise self._wrong(number, f"the key {key!r} needs one of 'value' and 'base64'")
        content = record["value"] if "value" in record else record["base64"]
        if not isinstance(content, str):
            raise self._wrong(number, f"the value of {key!r} is text, not {content!r:.{_SHOWN}}")
        try:
            value = content.encode() if "value" in record else base64.b64decode(content, validate=True)
        except (UnicodeEncodeError, binascii.Error) as exc:
            raise self._wrong(number, f"the value of {key!r} can't be read: {exc}") from exc
        return Entry(key, value, None if lease is None else str(lease))

    def _object(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise self._wrong(number, f"it is no JSON: {exc}") from exc
        if not isinstance(record, dict):
            raise self._wrong(number, f"it is no JSON object: {record!r:.{_SHOWN}}")
        return record

    def _wrong(self, number: int, what: str) -> ConfigError:
        return ConfigError(f"reading {self._name}, line {number}: {what}. Nothing was written")


def _count(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) else 0
