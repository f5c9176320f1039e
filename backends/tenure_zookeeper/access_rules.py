"""Whether the access rules (ACL) of what a feed watches are as they were when it began.

A server says nothing when a node's rules change, and since 3.8.4 and 3.9.2 it sends a client no event of a node that
the client may not read. A watch would so be silent and wrong. But each node counts the changes of its rules, and who
has no rights may ask for the count too. A feed whose count has changed ends: its successor begins with a list, which
the server refuses or answers in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline
from tenure_zookeeper import encoding
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.errors import translate

CHECK_INTERVAL = 5.0
"""Seconds between two looks at the rules."""
NONE = -1
"""In place of the count of a node that doesn't exist."""

Watched = tuple[str, bool]
"""A path, and whether it is a folder: a folder has little data and many children, a leaf has no children."""


def counts(connection: Connection, watched: Iterable[Watched], *, deadline: Deadline) -> dict[str, int | None]:
    """How often the rules of each node were changed, ``None`` for one that may not be read now."""
    asked = list(watched)
    requests = []
    for path, folder in asked:
        requests += [encoding.exists(path), encoding.get_data(path) if folder else encoding.get_children(path)]
    answers = connection.calls(requests, deadline=deadline, action="asking for access rules")
    found: dict[str, int | None] = {}
    for (path, _), stat, reading in zip(asked, answers[::2], answers[1::2], strict=True):
        if reading.error == encoding.Code.NO_AUTH:
            found[path] = None
        else:
            found[path] = NONE if stat.error else encoding.read_stat(stat).aversion
    return found


def check(before: Mapping[str, int | None], now: Mapping[str, int | None]) -> None:
    """Raise what ends a feed that began with the counts ``before``. A node that is new or gone has changed no rules."""
    for path, count in before.items():
        present = now.get(path, count)
        if present is None:
            raise translate(encoding.Code.NO_AUTH, action="watching", write=False)
        if NONE not in (count, present) and present != count:
            raise Unavailable("watching: the access rules (ACL) were changed, which may have hidden other changes")
