"""The number of a store's history, which all its clients share. Steps, without I/O.

A store that declares ``unique_revisions`` never repeats a token, and has the number 0. On others the number is the
value of a key. A client that has noticed that the data were replaced puts a larger one: the calendar time in
milliseconds, which is larger than that of any earlier history. Until one has noticed, fences of the replaced data are
refused as those of former holders: nothing gets through that shouldn't.
"""

from __future__ import annotations

import weakref

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.deadline import wall_clock
from tenure._steps.effects import Commit, Get, Steps
from tenure.errors import Conflict
from tenure.recipes import _names
from tenure.recipes._owner import MOST_HISTORY
from tenure.spi.types import KeyAbsent, Put, RevisionEquals

KEY = _names.ROOT + "history"
_known: weakref.WeakKeyDictionary[Store, tuple[str, int]] = weakref.WeakKeyDictionary()
"""What each store object has known last: the history that it was in, and its number."""


def history_number(store: Store, limit: TimeLimit) -> Steps[int]:
    """Steps that return the number of the present history."""
    if store.capabilities.unique_revisions:
        return 0
    while True:
        item = yield from Get(KEY, limit)
        noticed = store._history.name
        before, known = _known.get(store, (store._history.first, 0))
        number = 0 if item is None else _number(item.value)
        if item is None or (noticed != before and number <= known):
            number = max(number + 1, known + 1, int(wall_clock() * 1000))
            guard = KeyAbsent(KEY) if item is None else RevisionEquals(KEY, item.mod_revision)
            try:
                yield from Commit((guard,), (Put(KEY, str(number).encode(), None),), limit)
            except Conflict:
                continue  # another client has put one
        _known[store] = noticed, number
        return number


def _number(value: bytes) -> int:
    try:
        number = int(value)
    except ValueError:
        return 0
    return number if number < MOST_HISTORY else 0  # another program wrote it
