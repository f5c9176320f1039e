"""A file of what a registry knew: how it is written, and what is refused when it is read.

The file is text, one JSON value in a line::

    {"tenure-registry": 1, "prefix": "/registry/prod/", "store": "etcd://...", "as_of": 1790000000.0}
    ["/registry/prod/web/1@10.0.0.1", "{\\"id\\": ...}"]        each entry: its key, and its JSON as in the store
    {"entries": 1, "sha256": "..."}                            of all lines before

How it is replaced, and when it is refused, is in :mod:`tenure.registry.warm.sealed`. A refusal costs the start nothing
but the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tenure.errors import MalformedEntry
from tenure.registry.model.entry_reader import EntryReader
from tenure.registry.model.immutable_json import shown
from tenure.registry.model.instance import Instance
from tenure.registry.model.wire_format import encode
from tenure.registry.warm.sealed import Refused, SealedFile, json_of

_VERSION = 1
_NAME = "tenure-registry"

__all__ = ["Known", "Refused", "WarmFile"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a file holds.

    Attributes:
        entries: keys and instances.
        age: seconds since the entries were those of the store; infinite if nobody knows.
    """

    entries: tuple[tuple[str, Instance], ...]
    age: float


class WarmFile:
    """The file of one registry.

    Args:
        path: where it is. The folder exists.
        prefix: the prefix of the registry's keys.
        store: the URL of the store, without a password.
    """

    def __init__(self, path: Path, *, prefix: str, store: str) -> None:
        self.path = path
        self._prefix = prefix
        self._file = SealedFile(path, name=_NAME, version=_VERSION, of={"prefix": prefix, "store": store})

    def write(self, entries: Iterable[tuple[str, Instance]], as_of: float) -> None:
        """Replace the file. ``as_of``: when the entries were those of the store, in seconds since 1970.

        Raises:
            OSError: it can't be written; the former file is left as it was.
        """
        self._file.write((json.dumps([key, encode(instance).decode()]) for key, instance in entries), as_of)

    def read(self) -> Known:
        """Return what the file holds.

        Raises:
            Refused: there is no file, or it can't be trusted or used.
        """
        content = self._file.read()
        return Known(self._entries(content.lines), content.age)

    def _entries(self, lines: Iterable[bytes]) -> tuple[tuple[str, Instance], ...]:
        reader = EntryReader(self._prefix)
        entries: list[tuple[str, Instance]] = []
        for line in lines:
            pair = json_of(line)
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise Refused("a line isn't an entry")
            key, value = pair
            try:
                instance, _ = reader.read(key, value.encode("utf-8", "replace"))
            except MalformedEntry as exc:
                raise Refused(f"a line isn't an entry: {exc}") from exc
            if not key.startswith(self._prefix):
                raise Refused(f"an entry is of another prefix: {shown(key)}")
            entries.append((key, instance))
        return tuple(entries)
