"""What a cached value or prefix knows, whichever face keeps it up to date: its values, and how old they are. No I/O."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Generic, Protocol, TypeVar

from tenure._client.keys import check_prefix
from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._steps.effects import Steps
from tenure.errors import TenureError, WaitTimeout
from tenure.recipes._view import View

T = TypeVar("T")
S = TypeVar("S")


class Follows(Protocol):
    """The watch of a face, as far as it can be read without a wait."""

    @property
    def staleness(self) -> float: ...

    @property
    def error(self) -> TenureError | None: ...

    @property
    def outage(self) -> TenureError | None: ...

    @property
    def closed(self) -> bool: ...


class Wanted(Generic[S]):
    """A wait until what is read fulfils a condition."""

    def __init__(self, read: Callable[[], S], predicate: Callable[[S], object]) -> None:
        self._read = read
        self._predicate = predicate
        self._found: list[S] = []

    def look(self) -> bool:
        """Read, and tell whether the condition is fulfilled."""
        found = self._read()
        if not self._predicate(found):
            return False
        self._found.append(found)
        return True

    def result(self, timed_out: str) -> S:
        """Return what fulfilled the condition; raise ``WaitTimeout`` with this message if nothing did."""
        if not self._found:
            raise WaitTimeout(f"waiting for {timed_out} did not come in time; give a longer timeout")
        return self._found[-1]


class CachedState(Generic[T]):
    """Keys that a watch keeps up to date."""

    _kind: str
    """What observers call it."""
    _stored: Store
    _view: View[T]
    _prefix: str

    @property
    def _follower(self) -> Follows:
        raise NotImplementedError

    @property
    def staleness(self) -> float:
        """Seconds since the view was last known to be up to date: 0.0 while its watch is connected.

        Once a break is noticed, it counts from the connection's last sign of life; in a forked child from the fork.
        """
        return self._follower.staleness

    @property
    def outage(self) -> TenureError | None:
        """Why the view doesn't follow the store at present; ``None`` while it does. It reconnects by itself."""
        return self._follower.error or self._follower.outage

    @property
    def closed(self) -> bool:
        """Whether the view follows the store no longer. It keeps its last values."""
        return self._follower.closed

    def _limit(self, timeout: float | None) -> TimeLimit:
        return TimeLimit(self._stored.clock, timeout)


class ValueState(CachedState[T]):
    """The value of one key."""

    _kind = "value"
    _default: T

    @property
    def key(self) -> str:
        """The key."""
        return self._prefix

    @property
    def value(self) -> T:
        """The last good value, or the default. Others read the same object: change a copy."""
        return self._view.values().get(self._prefix, self._default)

    @property
    def problem(self) -> BaseException | None:
        """Why the stored value isn't used: what the codec or ``validate`` raised. ``None`` if it is used."""
        return self._view.problems().get(self._prefix)

    def _setting(self, value: T, *, timeout: float | None = None) -> Steps[None]:
        return self._view.put(self._prefix, value, self._limit(timeout))

    def _telling(self, callback: Callable[[T], object]) -> Callable[[frozenset[str]], object]:
        return lambda keys: callback(self.value)

    def _wanted(self, predicate: Callable[[T], object]) -> Wanted[T]:
        return Wanted(lambda: self.value, predicate)


class PrefixState(CachedState[T], Mapping[str, T]):
    """The values of all keys with a prefix."""

    _kind = "prefix"

    @property
    def prefix(self) -> str:
        """The string that the keys start with."""
        return self._prefix

    @property
    def problems(self) -> dict[str, BaseException]:
        """Why the stored values of some keys aren't used: what the codec or ``validate`` raised."""
        return {key[len(self._prefix) :]: problem for key, problem in self._view.problems().items()}

    def __getitem__(self, key: str) -> T:
        return self._view.values()[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.snapshot())

    def items(self) -> ItemsView[str, T]:
        """Return keys and values as they are at one moment.

        Returns:
            Those of a copy, as :meth:`snapshot` makes one.
        """
        return self.snapshot().items()

    def values(self) -> ValuesView[T]:
        """Return the values as they are at one moment.

        Returns:
            Those of a copy, as :meth:`snapshot` makes one.
        """
        return self.snapshot().values()

    def __len__(self) -> int:
        return len(self._view.values())

    def snapshot(self) -> dict[str, T]:
        """Return a copy of all values at one moment: where ``lossless_watch`` is declared, with whole transactions.

        Returns:
            The values by key.
        """
        return {key[len(self._prefix) :]: value for key, value in self._view.copy()[1].items()}

    def _setting(self, key: str, value: T, *, timeout: float | None = None) -> Steps[None]:
        check_prefix(key)
        return self._view.put(self._prefix + key, value, self._limit(timeout))

    def _deleting(self, key: str, *, timeout: float | None = None) -> Steps[None]:
        check_prefix(key)
        return self._view.delete(self._prefix + key, self._limit(timeout))

    def _telling(self, callback: Callable[[frozenset[str]], object]) -> Callable[[frozenset[str]], object]:
        return lambda keys: callback(frozenset(key[len(self._prefix) :] for key in keys))

    def _wanted(self, predicate: Callable[[Mapping[str, T]], object]) -> Wanted[dict[str, T]]:
        return Wanted(self.snapshot, predicate)
