"""What steps can ask for: each effect is a request to the store or to the clock, as data.

Steps are generators. ``revision = (yield from Commit(...)).revision`` hands the effect to whatever drives the steps,
and gets its result or its error::

    def read_twice(key: str) -> Steps[bool]:
        first = yield from Get(key)
        second = yield from Get(key)
        return first == second

Steps never block, sleep, start a thread or call a store. So the same steps run on threads, on an event loop, and in a
test that decides at each effect which participant continues, what fails and who dies.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from tenure._client.pagination import Listing
from tenure._runtime.clock import TimeLimit
from tenure.leases.lease import HeldLease, Lease
from tenure.spi.types import CommitResult, KeyValue, Operation, Precondition

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


class Effect(Generic[R_co]):
    """A request whose result has the type ``R``."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[Any], Any, R_co]:
        result: R_co = yield self
        return result


Steps: TypeAlias = Generator[Effect[Any], Any, T]
"""Steps that end with a result of type ``T``."""


@dataclass(frozen=True, slots=True)
class Grant(Effect[Lease]):
    """Take a lease.

    Attributes:
        ttl: the TTL in seconds.
        margin: seconds before the end of the TTL from which the holder counts the lease as lost.
        on_lost: called once with the lease when it is lost.
        limit: the time that the call may take, beside the store's timeout.
        taken: gets the lease before it is refreshed, so that an interrupt can't leave one that nobody knows.
    """

    ttl: float
    margin: float
    on_lost: Callable[[Lease], object]
    limit: TimeLimit
    taken: list[Lease] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Commit(Effect[CommitResult]):
    """Commit a transaction.

    Attributes:
        preconditions: what has to hold.
        operations: what is applied then.
        limit: the time that the call may take, beside the store's timeout.
        lease: the lease that puts name. An ended one is refused before anything is sent.
    """

    preconditions: tuple[Precondition, ...]
    operations: tuple[Operation, ...]
    limit: TimeLimit
    lease: HeldLease | None = None


@dataclass(frozen=True, slots=True)
class Get(Effect[KeyValue | None]):
    """Read one key.

    Attributes:
        key: the key.
        limit: the time that the call may take, beside the store's timeout.
    """

    key: str
    limit: TimeLimit


@dataclass(frozen=True, slots=True)
class ListKeys(Effect[Listing]):
    """List the keys that start with a prefix.

    Attributes:
        prefix: the string that the keys start with.
        limit: the time that the call may take, beside the store's timeout.
        values: whether the values are read, too.
        after: only keys after this one, in UTF-8 byte order.
        most: the number of keys that are read at most. The listing tells whether there are more.
    """

    prefix: str
    limit: TimeLimit
    values: bool = False
    after: str | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class WaitUntil(Effect[bool]):
    """Watch keys until a condition holds. The result tells whether it does; otherwise the time is up.

    Attributes:
        prefix: the string that the watched keys start with.
        ready: the condition. It is called with the present keys, and never in the middle of a transaction.
        limit: the time that the wait may take.
        lease: the wait also ends when this lease does. The result is false then. ``None`` for a wait that depends on
            no lease.
        exact: whether only the key that equals ``prefix`` is watched.
    """

    prefix: str
    ready: Callable[[Mapping[str, KeyValue]], bool]
    limit: TimeLimit
    lease: Lease | None
    exact: bool = False


class Word:
    """What one waits to hear from another thread, at most once.

    Attributes:
        first: ``True``: it is one's turn. ``False``: one has to look oneself. ``None`` until it is said.
        followed: whether the next one may wait for a sign that it is one's turn.
    """

    __slots__ = ("_tell", "first", "followed")

    def __init__(self, tell: Callable[[], object]) -> None:
        """``tell`` is called once it is said, on any thread. It does not block."""
        self._tell = tell
        self.first: bool | None = None
        self.followed = False

    def say(self, *, first: bool) -> None:
        """Say it. Never blocks."""
        self.first = first
        self._tell()

    def leave(self) -> None:
        """Wait no longer."""


@dataclass(frozen=True, slots=True)
class Hear(Effect[Word | None]):
    """Wait until somebody says whether it is the caller's turn, which several wait for together.

    The result is the word, with nothing said if the time is up or the lease has ended. It is ``None`` at once if nobody
    serves the caller.

    Attributes:
        join: takes the function that is called when it is said, and returns the word, or ``None``. Does not block.
        limit: the time that the wait may take.
        lease: the wait also ends when this lease does.
        prepare: called before ``join`` with the seconds that it may take, unless it is ``None``. It may call the store.
    """

    join: Callable[[Callable[[], object]], Word | None]
    limit: TimeLimit
    lease: Lease
    prepare: Callable[[float], object] | None = None


@dataclass(frozen=True, slots=True)
class Call(Effect[None]):
    """Call a function of the application, and wait until it has returned. What it raises is raised in the steps.

    Attributes:
        function: the function. An event loop calls it there, and awaits what a coroutine function returns.
    """

    function: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Sleep(Effect[None]):
    """Wait for some time.

    Attributes:
        seconds: seconds of the store's clock.
    """

    seconds: float
