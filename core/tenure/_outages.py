"""How long a watch has been without its store, as news that is worth reporting: begun, lasting, over."""

from __future__ import annotations

from dataclasses import dataclass

_REMIND = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """The connection has been broken for ``age`` seconds, by ``cause``; ``over`` says that it stands again."""

    age: float
    over: bool = False
    cause: Exception | None = None


class OutageTracker:
    """Turns "seconds without connection", asked now and then, into what is worth telling."""

    def __init__(self) -> None:
        self._told = 0.0
        self._age = 0.0
        self._kind: type[Exception] | None = None

    def look(self, age: float, cause: Exception | None = None) -> Outage | None:
        """The news since the last look, if there is any: begun, still lasting (every 30 s), another cause, over.

        The cause may become known later than the outage. Causes of one type are the same.
        """
        if age > 0:
            self._age = age
            other = cause is not None and type(cause) is not self._kind
            if self._told == 0.0 or other or age - self._told >= _REMIND:
                self._told = age
                self._kind = type(cause) if cause is not None else self._kind
                return Outage(age, cause=cause)
            return None
        if self._told:
            ended = Outage(self._age, over=True)
            self._told = self._age = 0.0
            self._kind = None
            return ended
        return None
