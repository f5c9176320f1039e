"""The faces that rules can use, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from operator import attrgetter
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from tenure import aio
from tenure._client.opening import connect
from tenure._client.store import Store
from tenure.conformance.harness.face_loop import LoopThread
from tenure.conformance.harness.face_proxy import Body, Proxies, proxies_of
from tenure.conformance.harness.rule import AIO, SYNC
from tenure.leases.lease import Lease
from tenure.recipes.session import Session

P = ParamSpec("P")
T = TypeVar("T")


class Face(ABC):
    """Opens stores for one rule, and makes what works on them."""

    name: ClassVar[str]

    @abstractmethod
    def connect(self, url: str, *, timeout: float, observers: Sequence[object] = (), alone: bool = False) -> Store:
        """Open a store. If it is ``alone``, what blocks a function of a rule that it calls blocks no other store."""

    @abstractmethod
    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a ``kind`` of this face: a registry or a recipe, named by its class of the synchronous face.

        A function, such as ``once``, is called.
        """

    @abstractmethod
    def session(self, session: Session, lease: Lease) -> Session:
        """Let a new ``session`` be on ``lease``, which was taken by this face."""

    @abstractmethod
    def body(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return what a recipe of this face gets for ``function``, which uses the store and may block meanwhile."""

    def run(self, body: Callable[[aio.Store], Coroutine[Any, Any, T]], store: Store) -> T:
        """Run a coroutine function with a store, for rules about the asyncio interface alone."""
        raise LookupError(f"the face {self.name} has no event loop; mark the rule, see of_face()")

    def close(self) -> list[str]:
        """End what it has started. Returns what was wrong beside what calls raised."""
        return []


class SyncFace(Face):
    """The synchronous interface."""

    name = SYNC

    def connect(self, url: str, *, timeout: float, observers: Sequence[object] = (), alone: bool = False) -> Store:
        """Open a store."""
        return connect(url, timeout=timeout, observers=observers)

    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make it."""
        return kind(*args, **kwargs)

    def session(self, session: Session, lease: Lease) -> Session:
        """Return the session itself."""
        session._lease = lease
        return session

    def body(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return the function itself."""
        return function


class AioFace(Face):
    """The asyncio interface. Its stores share one loop on a thread, which ends with the rule.

    A store that is alone has a loop of its own: on a shared one, a function that blocks keeps all from working.
    """

    name = AIO

    def __init__(self) -> None:
        self._loops = [LoopThread()]
        self._shared = Proxies(self._loops[0])

    def connect(self, url: str, *, timeout: float, observers: Sequence[object] = (), alone: bool = False) -> Store:
        """Open a store; what is returned acts as a synchronous one."""
        proxies = self._shared
        if alone:
            self._loops.append(LoopThread())
            proxies = Proxies(self._loops[-1])
        return cast("Store", proxies.call(aio.connect, url, timeout=timeout, observers=tuple(observers)))

    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the twin, which has the same qualified name: also of a class method, such as ``Session.open``."""
        twin = attrgetter(kind.__qualname__)(aio)
        return cast("T", proxies_of(args[0]).call(twin, *args, **kwargs))

    def session(self, session: Session, lease: Lease) -> Session:
        """Return the session's face."""
        proxies = proxies_of(lease)
        session._lease = proxies.taken(lease)
        return cast("Session", proxies.shown(aio.Session(session)))

    def body(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return a coroutine function, which waits for a thread: there the function may use the proxies."""
        return cast("Callable[..., T]", Body(function))

    def run(self, body: Callable[[aio.Store], Coroutine[Any, Any, T]], store: Store) -> T:
        """Run it on the loop."""
        proxies = proxies_of(store)
        return proxies.loop.run(body(proxies.taken(store)))

    def close(self) -> list[str]:
        """End the loops. Returns what they were told of."""
        told: list[str] = []
        for loop in self._loops:
            loop.close()
            told += loop.told
            loop.told = []
        return told


FACES: dict[str, type[Face]] = {face.name: face for face in (SyncFace, AioFace)}
"""The faces by name."""
