"""How much a run tries: the quick profile for daily use, the full one for a verdict to publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DEFAULT_SEED = 20240229


@dataclass(frozen=True, slots=True)
class Profile:
    """Amounts for one run; a rule reads them from ``context.profile``."""

    name: str = "quick"
    thorough: bool = False
    seed: int = DEFAULT_SEED
    """Seed of every random choice in a rule."""

    def pick(self, *, quick: T, full: T) -> T:
        """Return the amount for this profile, for example how often to cut a connection."""
        return full if self.thorough else quick


QUICK = Profile()
FULL = Profile("full", thorough=True)
