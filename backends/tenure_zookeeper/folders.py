"""Folders: made when a key needs them, removed by the server when they have been empty for a while.

They are containers where the server has such nodes. That a folder can vanish at any moment is why every write
that finds none makes it again. Making one touches the folder above it, as making a key does (see
``transactions``).
"""

from __future__ import annotations

from collections.abc import Sequence

from tenure.plugin_kit import Deadline
from tenure_zookeeper import encoding, keys
from tenure_zookeeper.connection import Connection
from tenure_zookeeper.errors import RACES, translate

_BATCH_BYTES = 200_000
_ACTION = "making a folder"


def ensure(connection: Connection, folder: str, *, deadline: Deadline) -> None:
    """Make the folder at this path and those above it that are missing. Losing a race is no error: look again."""
    wanted = keys.ancestors(folder)
    answers = connection.calls([encoding.exists(path) for path in wanted], deadline=deadline, action=_ACTION)
    for answer in answers:
        if answer.error not in (0, encoding.Code.NO_NODE):
            raise translate(answer.error, action=_ACTION, write=False)
    missing = [path for path, answer in zip(wanted, answers, strict=True) if answer.error]
    while missing:
        batch = _take(missing)
        missing = missing[len(batch) :]
        parts = [part for path in batch for part in _make(connection, path)]
        answer = connection.call(encoding.multi(parts), deadline=deadline, action=_ACTION, write=False)
        error = answer.error or encoding.first_error(encoding.read_parts(answer))
        if error in RACES:
            return  # somebody else made or removed one of them: the caller looks again
        if error:
            raise translate(error, action=_ACTION, write=False)


def _take(missing: Sequence[str]) -> list[str]:
    """As many as fit into a packet: a key of a thousand slashes has a thousand folders with long paths."""
    size, count = 0, 0
    while count < len(missing) and (count == 0 or size < _BATCH_BYTES):
        size += 2 * len(missing[count])
        count += 1
    return list(missing[:count])


def _make(connection: Connection, path: str) -> tuple[encoding.Request, encoding.Request]:
    above = path.rpartition("/")[0] or "/"
    if connection.modern:
        new = encoding.create(path, b"", connection.acl, encoding.CONTAINER)
    else:
        new = encoding.create_plain(path, b"", connection.acl)
    return encoding.set_data(above, b""), new
