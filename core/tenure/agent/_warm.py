"""The agent's file of what it knew, for a start while the store is away: the entries as they are in the store.

It is kept as a registry's warm file is (:mod:`tenure.registry.warm.sealed`), with the revisions, so that the programs
find out the true difference once the store is back::

    {"tenure-agent": 1, "prefixes": [...], "store": "...", "as_of": ..., "revisions": [...], "capabilities": {...}}
    [number of the prefix, key, value, create revision, mod revision, lease]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenure.agent import _wire
from tenure.registry.warm.sealed import Refused, SealedFile, json_of
from tenure.spi.types import KeyValue

__all__ = ["Refused", "Remembered", "WarmState"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a file holds.

    Attributes:
        items: the entries of each prefix.
        revisions: of the state of each prefix.
        capabilities: those of the store.
        age: seconds since this was the state of the store; infinite if nobody knows.
    """

    items: tuple[tuple[KeyValue, ...], ...]
    revisions: tuple[int, ...]
    capabilities: Mapping[str, object]
    age: float


class WarmState:
    """The file of one agent.

    Args:
        path: where it is. The folder exists.
        prefixes: what the agent serves.
        store: the store's URL, without a password.
    """

    def __init__(self, path: Path, *, prefixes: Sequence[str], store: str) -> None:
        self.path = path
        self._prefixes = tuple(prefixes)
        of = {"prefixes": list(prefixes), "store": store}
        self._file = SealedFile(path, name=_wire.NAME, version=_wire.VERSION, of=of)

    def write(
        self,
        items: Sequence[Sequence[KeyValue]],
        revisions: Sequence[int],
        capabilities: Mapping[str, object],
        as_of: float,
    ) -> None:
        """Replace the file. Raises ``OSError``."""
        lines = (
            json.dumps([number, *entry])
            for number, each in enumerate(items)
            for group in _wire.groups(each)
            for entry in json.loads(group)
        )
        self._file.write(lines, as_of, {"revisions": list(revisions), "capabilities": dict(capabilities)})

    def read(self) -> Remembered:
        """Return what the file holds. Raises :class:`Refused` if it can't be trusted or used."""
        content = self._file.read()
        revisions, capabilities = content.head.get("revisions"), content.head.get("capabilities")
        if (
            not isinstance(revisions, list)
            or len(revisions) != len(self._prefixes)
            or not all(type(each) is int for each in revisions)
            or not isinstance(capabilities, dict)
        ):
            raise Refused("it doesn't say of what revisions and what store it is")
        items: tuple[list[KeyValue], ...] = tuple([] for _ in self._prefixes)
        for line in content.lines:
            match json_of(line):
                case [int(number), str(key), *_] as found if 0 <= number < len(items):
                    if not key.startswith(self._prefixes[number]):
                        raise Refused(f"an entry is of another prefix: {key!r:.80}")
                case _:
                    raise Refused("a line isn't an entry")
            try:
                (entry,) = _wire.entries([found[1:]])
            except _wire.Broken as exc:
                raise Refused(f"a line isn't an entry: {exc}") from exc
            if not isinstance(entry, KeyValue):
                raise Refused("a line isn't an entry")
            items[number].append(entry)
        return Remembered(tuple(map(tuple, items)), tuple(revisions), capabilities, content.age)
