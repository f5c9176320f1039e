"""Tell observers who waits for what, and who holds it for how long. Nothing is made where nobody listens."""

from __future__ import annotations

from typing import Protocol

from tenure._client.observers import Observers
from tenure._runtime.deadline import monotonic
from tenure.errors import TenureError


class _Alive(Protocol):
    @property
    def alive(self) -> bool: ...


class Acquisition:
    """One attempt to acquire something, from its begin."""

    def __init__(self, observers: Observers, kind: str, name: str) -> None:
        self._observers = observers
        self._kind = kind
        self._name = name
        self._contexts = observers.begin("recipe_waiting", kind=kind, name=name)
        self._started = monotonic()

    def held(self, token: int) -> None:
        """It has succeeded."""
        self._observers.end(
            "recipe_held",
            self._contexts,
            kind=self._kind,
            name=self._name,
            token=token,
            seconds=monotonic() - self._started,
        )

    def given_up(self, error: BaseException | None) -> None:
        """It has not succeeded, for ``error`` or because it was not to wait."""
        self._observers.end(
            "recipe_given_up",
            self._contexts,
            kind=self._kind,
            name=self._name,
            seconds=monotonic() - self._started,
            error=error if isinstance(error, TenureError) else None,
        )


class Tenancy:
    """How long something is held. Its end is told once, whoever notices it first."""

    def __init__(self, observers: Observers, session: _Alive, *, kind: str, name: str, token: int) -> None:
        self._observers = observers
        self._session = session
        self._kind = kind
        self._name = name
        self._token = token
        self._since = monotonic()
        self._untold = [None]

    def ended(self, *, lost: bool = False) -> None:
        """It is held no longer: released while the session was alive, or lost with it, or ``lost`` without it."""
        try:
            self._untold.pop()
        except IndexError:
            return
        self._observers.tell(
            "recipe_lost" if lost or not self._session.alive else "recipe_released",
            kind=self._kind,
            name=self._name,
            token=self._token,
            seconds=monotonic() - self._since,
        )
