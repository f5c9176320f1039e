"""Which instances rest because this client reported that they failed. Local, and no I/O. Thread-safe.

* A first failure rests an instance for ``first`` seconds. Each further failure doubles the time, up to ``longest``.
* Calls that began before the rest may fail too. They say nothing new: while an instance rests, a failure counts only if
  it was picked during its rest.
* A success ends the rest and forgets the failures. They are also forgotten ``longest`` seconds after the rest's end.
* If all candidates rest, the one whose rest ends first is the least bad. It is picked all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tenure._runtime.clock import Clock
from tenure._runtime.monitor import Monitor
from tenure.registry.model.instance import Instance

_MOST = 10_000
_DOUBLINGS = 60
_Who = tuple[str, str, str]


@dataclass(slots=True)
class _Rest:
    failures: int
    until: float
    tried: bool = False


class Rests:
    """The rests of one client.

    Attributes:
        remembered: the rests, running and over, until their failures are forgotten. While it is empty, there is nothing
            to ask for: a caller looks at it without the lock.
    """

    def __init__(self, clock: Clock, first: float, longest: float) -> None:
        self._clock = clock
        self._first = first
        self._longest = longest
        self._lock = Monitor()
        self.remembered: dict[_Who, _Rest] = {}
        self._next_look = inf
        self._told: dict[str, float] = {}

    def failed(self, instance: Instance) -> float:
        """Record a failure of ``instance``; return for how many seconds it rests from now on."""
        who, now = _who(instance), self._clock.now()
        with self._lock:
            self._forget_old(now)
            rest = self.remembered.pop(who, None)
            if rest is None or rest.until <= now or rest.tried:
                failures = 1 if rest is None else rest.failures + 1
                seconds = min(self._longest, self._first * 2.0 ** min(failures - 1, _DOUBLINGS))
                rest = _Rest(failures, now + seconds)
            self.remembered[who] = rest
            self._next_look = min(self._next_look, rest.until + self._longest)
            if len(self.remembered) > _MOST:
                del self.remembered[next(iter(self.remembered))]  # the one that failed longest ago
            return rest.until - now

    def succeeded(self, instance: Instance) -> None:
        """Forget the failures of ``instance``: it rests no longer."""
        if self.remembered:
            with self._lock:
                self.remembered.pop(_who(instance), None)

    def awake(self, candidates: Sequence[Instance]) -> Sequence[Instance]:
        """Return those of ``candidates`` that don't rest."""
        now = self._clock.now()
        with self._lock:
            self._forget_old(now)
            return [each for each in candidates if self._until(each) <= now]

    def least_bad(self, service: str, candidates: Sequence[Instance]) -> tuple[Instance, bool]:
        """Return the one of ``candidates``, which isn't empty, whose rest ends first, and whether to warn of it.

        A warning is due at most once in ``longest`` seconds for each service. The instance's next failure counts.
        """
        now = self._clock.now()
        with self._lock:
            chosen = min(candidates, key=self._until)
            rest = self.remembered.get(_who(chosen))
            if rest is not None:
                rest.tried = True
            due = now >= self._told.get(service, -inf) + self._longest
            if due:
                self._told[service] = now
        return chosen, due

    def left(self) -> Mapping[str, float]:
        """Return the identity of each instance that rests, with the seconds that are left."""
        now = self._clock.now()
        with self._lock:
            return {
                f"{service}/{id_}@{host}": rest.until - now
                for (service, id_, host), rest in list(self.remembered.items())
                if rest.until > now
            }

    def _until(self, instance: Instance) -> float:
        rest = self.remembered.get(_who(instance))
        return -inf if rest is None else rest.until

    def _forget_old(self, now: float) -> None:
        if now < self._next_look:
            return
        # Lists: a signal handler may report a failure in the middle of this.
        for who, rest in list(self.remembered.items()):
            if rest.until + self._longest <= now:
                self.remembered.pop(who, None)
        self._next_look = min((rest.until + self._longest for rest in list(self.remembered.values())), default=inf)
        if not self.remembered:
            self._told = {service: when for service, when in list(self._told.items()) if now < when + self._longest}


def _who(instance: Instance) -> _Who:
    return (instance.service_name, instance.id, instance.host)
