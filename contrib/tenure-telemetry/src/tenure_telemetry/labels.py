"""Which names may become labels. A label that grows with the number of locks or keys fills a metrics database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tenure.hookspecs import ObservedStore

Labels = dict[str, str | int]
"""Attributes of one measurement, by their names."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """The names that may become labels: exact ones, or patterns with ``*`` and ``?``. By default there are none.

    A measurement about any other name is counted without that label.

    Attributes:
        locks: names of locks, semaphores, elections and other recipes, for ``tenure.lock.name``.
        services: names of services, for ``tenure.service.name``.
        prefixes: prefixes of watches and caches, for ``tenure.prefix``.
    """

    locks: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def __init__(
        self, *, locks: Iterable[str] = (), services: Iterable[str] = (), prefixes: Iterable[str] = ()
    ) -> None:
        for field, given in (("locks", locks), ("services", services), ("prefixes", prefixes)):
            if isinstance(given, str):
                raise TypeError(f"allowing {field}={given!r}: it is a list of names, not one text; write [{given!r}]")
            object.__setattr__(self, field, tuple(given))

    def lock(self, name: str) -> Labels:
        """Return the label for the name of a lock.

        Args:
            name: the name.

        Returns:
            ``tenure.lock.name`` if the name is allowed, otherwise nothing.
        """
        return {"tenure.lock.name": name} if _allowed(name, self.locks) else {}

    def service(self, name: str) -> Labels:
        """Return the label for the name of a service.

        Args:
            name: the name.

        Returns:
            ``tenure.service.name`` if the name is allowed, otherwise nothing.
        """
        return {"tenure.service.name": name} if _allowed(name, self.services) else {}

    def prefix(self, prefix: str) -> Labels:
        """Return the label for the prefix of a watch or a cache.

        Args:
            prefix: the prefix.

        Returns:
            ``tenure.prefix`` if the prefix is allowed, otherwise nothing.
        """
        return {"tenure.prefix": prefix} if _allowed(prefix, self.prefixes) else {}


def of_store(store: ObservedStore) -> Labels:
    """Return the labels of a store, by the semantic conventions for databases.

    Args:
        store: the store.

    Returns:
        The labels that are known.
    """
    labels: Labels = {"db.system.name": store.scheme}
    if store.namespace:
        labels["db.namespace"] = store.namespace
    if store.host is not None:
        labels["server.address"] = store.host
        if store.port is not None:
            labels["server.port"] = store.port
    return labels


def _allowed(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
