"""What locks, semaphores and elections have in common: one object holds once, or counts. Steps, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit
from tenure._runtime.monitor import Monitor
from tenure._steps.effects import Steps
from tenure.errors import AlreadyHeld, LeaseLost, Unavailable
from tenure.recipes._held_state import HeldState
from tenure.recipes._queue import Acquired
from tenure.recipes._telling import Acquisition

H = TypeVar("H", bound=HeldState)


class Contest(Protocol):
    """How participants compete: a queue or a single key."""

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired]:
        """Steps that wait until it is acquired."""
        ...

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[Acquired | None]:
        """Steps that acquire it if that is possible now."""
        ...

    def release(self, held: Acquired, limit: TimeLimit) -> Steps[bool]:
        """Steps that give it back."""
        ...

    def give_up(self, held: Acquired) -> None:
        """Let the janitor give it back. Never blocks or raises."""
        ...


class Acquirable(Generic[H]):
    """One participant's object. It holds at most one thing at a time; ``make`` gives a face to what it holds."""

    def __init__(
        self, store: Store, contest: Contest, make: Callable[..., H], *, kind: str, name: str, reentrant: bool = False
    ) -> None:
        self.store = store
        self.kind = kind
        self.name = name
        self._contest = contest
        self._make = make
        self._reentrant = reentrant
        self._lock = Monitor()
        self._present: H | None = None
        self._acquired: Acquired | None = None
        self._acquiring = False
        self._other: Acquirable[H] | None = None

    def exclude(self, other: Acquirable[H]) -> None:
        """Let one object, of which these are two sides, hold one of them at a time."""
        self._other, other._other = other, self
        other._lock = self._lock

    def move(self, steps: Callable[[Acquired], Steps[Acquired]]) -> Steps[H]:
        """Steps that turn what the other side holds into what this side holds. ``steps`` change the key."""
        other = self._other
        held, acquired = (None, None) if other is None else (other.held, other._acquired)
        if other is None or held is None or acquired is None:
            raise LeaseLost(f"moving to the {self.kind} {self.name!r}: this object doesn't hold the other side")
        try:
            self._pass_on(held, True)
            moved = self._keep((yield from steps(acquired)))
            held.end(passed_on=True)
            if self.store._observers.of_recipes:
                Acquisition(self.store._observers, self.kind, self.name).held(moved.token)
            return moved
        except Unavailable:
            raise  # nothing was changed
        except BaseException:
            self._present = self._acquired = None
            held.lose("passing it on failed half way")
            self._contest.give_up(acquired)
            raise
        finally:
            self._pass_on(held, False)

    def acquire(self, value: bytes, limit: TimeLimit) -> Steps[H]:
        """Steps that wait until it is acquired."""
        return cast("Steps[H]", self._take(self._contest.acquire(value, limit)))

    def try_acquire(self, value: bytes, limit: TimeLimit) -> Steps[H | None]:
        """Steps that acquire it if that is possible now."""
        return self._take(self._contest.try_acquire(value, limit))

    @property
    def held(self) -> H | None:
        """What this object holds now, ``None`` if nothing."""
        held = self._present
        return held if held is not None and held.held else None

    def _pass_on(self, held: H, moving: bool) -> None:
        """Note that ``held`` is being passed on. The store may have done so before its answer comes."""
        self._acquiring = moving
        held.move(moving)

    def _reserve(self, ours: list[bool]) -> H | None:
        """Begin an acquisition. Returns what is held if that may be shared; raises ``AlreadyHeld`` otherwise.

        ``ours`` is no longer empty once it has begun.
        """
        other = self._other
        with self._lock:
            if other is not None and (other._acquiring or other.held is not None):
                raise AlreadyHeld(
                    f"acquiring the {self.kind} {self.name!r}: this object has or acquires the {other.kind}, and "
                    "would wait for itself; release that first"
                )
            held = self.held
            if held is None and not self._acquiring:
                ours[:], self._acquiring = [True], True  # at once: an interrupt comes between lines
                return None
            if self._reentrant and held is not None:
                held.count()
                return held
        state = "holds it" if held is not None else "is acquiring it"
        raise AlreadyHeld(
            f"acquiring the {self.kind} {self.name!r}: this object {state} already; use an object for each participant"
        )

    def _take(self, steps: Steps[Acquired] | Steps[Acquired | None]) -> Steps[H | None]:
        """Steps that keep what ``steps`` acquire. What the caller of an interrupted one doesn't get is given back."""
        acquired: Acquired | None = None
        telling: Acquisition | None = None
        ours: list[bool] = []
        try:
            again = self._reserve(ours)
            if again is not None:
                return again
            observers = self.store._observers
            telling = Acquisition(observers, self.kind, self.name) if observers.of_recipes else None
            acquired = yield from steps
            held = None if acquired is None else self._keep(acquired)
            self._acquiring = False
            if telling is not None:
                telling.given_up(None) if held is None else telling.held(held.token)
            return held
        except BaseException as exc:
            if ours:
                self._acquiring = False
            if telling is not None:
                telling.given_up(exc)
            if acquired is not None:
                self._present = self._acquired = None
                self._contest.give_up(acquired)
            raise

    def _keep(self, acquired: Acquired) -> H:
        held = self._face(acquired)
        self._present, self._acquired = held, acquired
        return held

    def _face(self, acquired: Acquired) -> H:
        """Make what the caller gets. Other threads see it as soon as it is kept, so it is complete."""
        return self._make(
            self.store,
            acquired.session,
            kind=self.kind,
            name=self.name,
            key=acquired.ticket.key,
            token=acquired.ticket.revision,
            give_back=lambda limit: self._contest.release(acquired, limit),
            leave=lambda: self._contest.give_up(acquired),
        )
