"""How long a watch has been without its store, as news that is worth reporting: begun, lasting, over."""

from __future__ import annotations

from dataclasses import dataclass

_REMIND = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """The connection has been broken for ``age`` seconds; ``over`` says that it stands again."""

    age: float
    over: bool = False


class OutageTracker:
    """Turns "seconds without connection", asked now and then, into what is worth telling."""

    def __init__(self) -> None:
        self._told = 0.0
        self._age = 0.0

    def look(self, age: float) -> Outage | None:
        """The news since the last look, if there is any: begun, still going on (every 30 s), over."""
        if age > 0:
            self._age = age
            if self._told == 0.0 or age - self._told >= _REMIND:
                self._told = age
                return Outage(age)
            return None
        if self._told:
            ended = Outage(self._age, over=True)
            self._told = self._age = 0.0
            return ended
        return None
