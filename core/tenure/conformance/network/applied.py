"""A toxic in effect: its effects so far, and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from tenure.conformance.network.toxics import BlackHole, Cut, Direction, Late, Toxic, spellings


class Applied:
    """A toxic that was added to a proxy. Take it away by :meth:`remove`, or use it in ``with``."""

    def __init__(self, toxic: Toxic, direction: Direction, owner: Owner) -> None:
        self.toxic = toxic
        self.direction = direction
        self.effects = 0
        """The number of effects so far; the toxic's docstring defines what counts."""
        self.left = _times(toxic)
        """How many more requests it is for, or pieces it lets through."""
        self.spellings = spellings(getattr(toxic, "needle", b""))
        self.owner = owner

    def remove(self) -> None:
        """From now on the connection is as it was. Idempotent."""
        self.owner.take_away([self])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.remove()


def _times(toxic: Toxic) -> int:
    if isinstance(toxic, Cut):
        return toxic.times
    return toxic.passes if isinstance(toxic, BlackHole) else int(isinstance(toxic, Late))


class Owner(Protocol):
    """The proxy that a toxic acts on."""

    def take_away(self, toxics: Sequence[Applied]) -> None: ...


class Together:
    """The same toxic on several proxies or directions, taken away together."""

    def __init__(self, parts: Sequence[Applied]) -> None:
        self.parts = parts

    @property
    def effects(self) -> int:
        """The sum over the parts."""
        return sum(part.effects for part in self.parts)

    def remove(self) -> None:
        """Remove all of them: on each proxy at once, so that no bytes pass from one toxic into another."""
        for owner in dict.fromkeys(part.owner for part in self.parts):
            owner.take_away([part for part in self.parts if part.owner is owner])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.remove()
