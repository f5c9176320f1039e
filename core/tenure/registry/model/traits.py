"""What an instance's metadata say about its choice: ``zone`` and ``weight``.

Any program may write an entry, so reading never fails: a zone that isn't text is none, and a weight that isn't a number
of 0 or more counts as 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeGuard

ZONE_KEY = "zone"
WEIGHT_KEY = "weight"
MOST_WEIGHT = 1_000_000
_PARTS = 1_000
"""Weights are counted in thousandths, so that turns are counted in whole numbers."""


class _HasMeta(Protocol):
    @property
    def meta(self) -> Mapping[str, object]: ...


def zone_of(meta: Mapping[str, object]) -> str:
    """Return the text under ``zone``; empty if there is none."""
    zone = meta.get(ZONE_KEY)
    return zone if isinstance(zone, str) else ""


def weight_of(meta: Mapping[str, object]) -> float:
    """Return the number under ``weight``, at most 1,000,000; 1.0 if there is none."""
    return parts_of(meta) / _PARTS


def parts_of(meta: Mapping[str, object]) -> int:
    """Return the weight in thousandths. Only 0 itself is rounded to 0."""
    weight = meta.get(WEIGHT_KEY)
    if weight is None or not is_weight(weight):
        return _PARTS
    return max(1, round(min(weight, MOST_WEIGHT) * _PARTS)) if weight else 0


def is_weight(value: object) -> TypeGuard[int | float]:
    """Return whether ``value`` is a number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def weights_of(instances: Iterable[_HasMeta]) -> list[int]:
    """Return the weights in thousandths. If all weights are 0, all count alike."""
    weights = [parts_of(instance.meta) for instance in instances]
    return weights if any(weights) else [_PARTS] * len(weights)
