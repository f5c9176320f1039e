"""Keys for templates: a view of each key and prefix that the last renderings asked for, kept up to date by a watch.

A key that is gone after an outage keeps its value while that is doubtful: a store that comes back without its data must
not turn a configuration into one of defaults at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tenure
from tenure_gateway.render.quoting import Refused

_MOST_VIEWS = 100


class FollowedKeys:
    """Opens a view when a template asks for a key, and closes those that no template asks for any more.

    In one pass over the templates, a key that is asked for again has the value that it had the first time.

    Used by one thread.

    Args:
        store: an open store.
        changed: called after each change of a key, on a thread for callbacks; it returns quickly.
        doubtful: returns for a key or a prefix whether it is doubtful that what is gone is gone.
    """

    def __init__(
        self,
        store: tenure.Store,
        changed: Callable[[], object],
        doubtful: Callable[[str], bool] = lambda _watched: False,
    ) -> None:
        self._store = store
        self._changed = changed
        self._doubtful = doubtful
        self._last: dict[tuple[str, str], dict[str, str]] = {}
        self._kept: dict[str, str] = {}
        self._values: dict[str, tenure.CachedValue[str | None]] = {}
        self._prefixes: dict[str, tenure.CachedPrefix[str]] = {}
        self._asked: set[tuple[str, str]] = set()
        self._read: dict[tuple[str, str], dict[str, str]] = {}

    def key(self, name: str) -> str | None:
        """Return a key's value as text; ``None`` if there is no such key.

        Raises:
            Refused: the value isn't UTF-8, or the templates ask for too many keys.
            TenureError: the key can't be read.
        """
        self._asked.add(("key", name))
        if ("key", name) in self._read:
            return self._read["key", name].get(name)
        view = self._values.get(name)
        if view is None:
            self._check_count()
            view = tenure.CachedValue(self._store, name, codec=tenure.TEXT, default=None)
            view.on_change(lambda _keys: self._changed())
            self._values[name] = view
        value = view.value  # the last good one, if there was any
        if value is None and view.problem is not None:
            raise Refused(f"reading the key {name!r}: {view.problem}")
        read = self._read["key", name] = self._with_kept("key", name, {} if value is None else {name: value})
        return read.get(name)

    def keys(self, prefix: str) -> Mapping[str, str]:
        """Return the keys that begin with ``prefix``, without it, and their values as text, sorted.

        Raises:
            Refused: the templates ask for too many keys.
            TenureError: the keys can't be read.
        """
        self._asked.add(("keys", prefix))
        if ("keys", prefix) in self._read:
            return self._read["keys", prefix]
        view = self._prefixes.get(prefix)
        if view is None:
            self._check_count()
            view = tenure.CachedPrefix(self._store, prefix, codec=tenure.TEXT)
            view.on_change(lambda _keys: self._changed())
            self._prefixes[prefix] = view
        read = self._with_kept("keys", prefix, view.snapshot())
        self._read["keys", prefix] = dict(sorted(read.items()))
        return self._read["keys", prefix]

    @property
    def kept(self) -> frozenset[str]:
        """The keys that are gone since an outage, and whose last values the last renderings have used."""
        return frozenset(self._kept)

    @property
    def settled(self) -> bool:
        """Whether keys were kept that are no longer in doubt: it is time to render again."""
        return any(not self._doubtful(watched) for watched in self._kept.values())

    def end_pass(self) -> None:
        """End a pass over the templates: close the views that none has asked for, and read again from now on."""
        views: list[tuple[str, dict[str, Any]]] = [("key", self._values), ("keys", self._prefixes)]
        for kind, opened in views:
            for name in [name for name in opened if (kind, name) not in self._asked]:
                opened.pop(name).close()
                self._last.pop((kind, name), None)
        asked = {name for _, name in self._asked}
        self._kept = {key: watched for key, watched in self._kept.items() if watched in asked}
        self._asked.clear()
        self._read.clear()

    def close(self) -> None:
        """Close all views."""
        self._asked.clear()
        self.end_pass()

    def _with_kept(self, kind: str, watched: str, present: dict[str, str]) -> dict[str, str]:
        last = self._last.get((kind, watched), {})
        gone = {key: value for key, value in last.items() if key not in present}
        start = watched if kind == "keys" else ""
        if gone and not self._doubtful(watched):
            gone.clear()
        for key in last | present:
            self._kept.pop(start + key, None)
        self._kept.update({start + key: watched for key in gone})
        self._last[kind, watched] = present | gone
        return self._last[kind, watched]

    def _check_count(self) -> None:
        if len(self._values) + len(self._prefixes) >= _MOST_VIEWS:
            raise Refused(f"reading keys: the templates ask for more than {_MOST_VIEWS} keys; use keys(prefix)")
