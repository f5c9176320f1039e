"""Give instances turns in proportion to their weights, evenly spread. No I/O; the caller holds a lock.

Each group of callers has a virtual time. An instance of weight ``w`` has its turns at the times ``1/2w``, ``3/2w``,
``5/2w`` and so on; the earliest turn is next. So within one unit of time each instance has ``w`` turns, exactly, and
another instance's coming, leaving or resting moves none of them. The times are fractions of whole numbers: they don't
drift.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenure.registry.model.instance import Instance
from tenure.registry.model.traits import weights_of

_REMEMBERED = 1024
Group = tuple[str, ...]
_Who = tuple[str, str]


@dataclass(slots=True)
class _Time:
    """The time of the last turn, ``numerator / denominator``, and the number of each instance's next turn."""

    numerator: int = 0
    denominator: int = 1
    turns: dict[_Who, int] = field(default_factory=dict)

    def next_turn(self, who: _Who, weight: int) -> int:
        """Return the number of the next turn: the first that is not in the past, or the one after it."""
        first = -((self.denominator - 2 * self.numerator * weight) // (2 * self.denominator))
        # A rest leaves turns in the past, and another weight leaves them anywhere.
        return min(max(self.turns.get(who, first), first), first + 1)

    def drop_all_but(self, candidates: Sequence[Instance]) -> None:
        present = {(instance.id, instance.host) for instance in candidates}
        self.turns = {who: turn for who, turn in self.turns.items() if who in present}


class WeightedTurns:
    """The virtual times of at most 1,024 groups. Not thread-safe."""

    def __init__(self) -> None:
        self._times: OrderedDict[Group, _Time] = OrderedDict()

    def take(self, group: Group, candidates: Sequence[Instance]) -> Instance:
        """Return the one of ``candidates``, which isn't empty, whose turn is next."""
        time = self._times.pop(group, None) or _Time()
        chosen, turn, weight = candidates[0], 0, 0
        for instance, its_weight in zip(candidates, weights_of(candidates), strict=True):
            if its_weight == 0:
                continue
            its_turn = time.next_turn((instance.id, instance.host), its_weight)
            # Compares (2 * turn + 1) / (2 * weight), the times of the turns, without dividing.
            if weight == 0 or (2 * its_turn + 1) * weight < (2 * turn + 1) * its_weight:
                chosen, turn, weight = instance, its_turn, its_weight
        time.numerator, time.denominator = 2 * turn + 1, 2 * weight
        time.turns[(chosen.id, chosen.host)] = turn + 1
        if len(time.turns) > 2 * len(candidates) + 64:
            time.drop_all_but(candidates)
        self._times[group] = time
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        return chosen
