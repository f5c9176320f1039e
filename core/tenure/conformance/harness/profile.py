"""How much a run tries: the quick profile for every day, the full one for a verdict to publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

DEFAULT_SEED = 20240229


@dataclass(frozen=True, slots=True)
class Profile:
    """Handed to every rule as ``world.profile``."""

    name: str = "quick"
    thorough: bool = False
    seed: int = DEFAULT_SEED
    """Everything random in a rule comes from this."""

    def pick(self, *, quick: T, full: T) -> T:
        """The amount for this profile, such as how often to cut a connection."""
        return full if self.thorough else quick


QUICK = Profile()
FULL = Profile("full", thorough=True)
