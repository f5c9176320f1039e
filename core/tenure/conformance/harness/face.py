"""The faces that rules can use, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from operator import attrgetter
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from tenure import aio
from tenure._client.opening import connect
from tenure._client.store import Store
from tenure.conformance.harness.face_loop import LoopThread
from tenure.conformance.harness.face_proxy import Proxies
from tenure.conformance.harness.rule import AIO, SYNC

P = ParamSpec("P")
T = TypeVar("T")


class Face(ABC):
    """Opens stores for one rule, and makes what works on them."""

    name: ClassVar[str]

    @abstractmethod
    def connect(self, url: str, *, timeout: float, observers: list[object]) -> Store:
        """Open a store."""

    @abstractmethod
    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a ``kind`` of this face: a registry or a recipe, named by its class of the synchronous face."""

    def run(self, body: Callable[[aio.Store], Coroutine[Any, Any, T]], store: Store) -> T:
        """Run a coroutine function with a store, for rules about the asyncio interface alone."""
        raise LookupError(f"the face {self.name} has no event loop; mark the rule, see of_face()")

    def close(self) -> list[str]:
        """End what it has started. Returns what was wrong beside what calls raised."""
        return []


class SyncFace(Face):
    """The synchronous interface."""

    name = SYNC

    def connect(self, url: str, *, timeout: float, observers: list[object]) -> Store:
        """Open a store."""
        return connect(url, timeout=timeout, observers=observers)

    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make it."""
        return kind(*args, **kwargs)


class AioFace(Face):
    """The asyncio interface. Its stores share one loop on a thread, which ends with the rule."""

    name = AIO

    def __init__(self) -> None:
        self._loop = LoopThread()
        self._proxies = Proxies(self._loop)

    def connect(self, url: str, *, timeout: float, observers: list[object]) -> Store:
        """Open a store; what is returned acts as a synchronous one."""
        return cast("Store", self._proxies.call(aio.connect, url, timeout=timeout, observers=observers))

    def make(self, kind: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the twin, which has the same qualified name: also of a class method, such as ``Session.open``."""
        twin = attrgetter(kind.__qualname__)(aio)
        return cast("T", self._proxies.call(twin, *args, **kwargs))

    def run(self, body: Callable[[aio.Store], Coroutine[Any, Any, T]], store: Store) -> T:
        """Run it on the loop."""
        return self._loop.run(body(self._proxies.taken(store)))

    def close(self) -> list[str]:
        """End the loop. Returns what it was told of."""
        self._loop.close()
        told, self._loop.told = self._loop.told, []
        return told


FACES: dict[str, type[Face]] = {face.name: face for face in (SyncFace, AioFace)}
"""The faces by name."""
