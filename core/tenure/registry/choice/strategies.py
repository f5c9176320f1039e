"""Choose one instance of several: each strategy, and whose turn it is by it. No I/O."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum

from tenure._runtime.monitor import Monitor
from tenure.errors import InvalidArgument
from tenure.registry.choice.turns import WeightedTurns
from tenure.registry.model.filters import Filter
from tenure.registry.model.instance import Instance

_REMEMBERED = 1024


class Strategy(StrEnum):
    """Name a way to choose one instance of several.

    Attributes:
        ROUND_ROBIN: each instance in turn.
        RANDOM: any instance, all with the same probability.
        LEAST_RECENTLY_USED: the instance whose last turn is longest ago; an instance without a turn comes first.
        WEIGHTED: each instance in turn, as often as its :attr:`Instance.weight` says, evenly spread. One of weight 0
            has no turn unless all weights are 0.
    """

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_RECENTLY_USED = "least_recently_used"
    WEIGHTED = "weighted"


class Picker:
    """Keeps the turns of each service. Thread-safe.

    Turns are counted separately for each mapping of metadata, so callers with different filters don't skip instances
    for each other. All filter functions share the turns of their service.
    """

    def __init__(self) -> None:
        self._lock = Monitor()
        self._turns: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._weighted = WeightedTurns()
        self._last: OrderedDict[str, dict[tuple[str, str], int]] = OrderedDict()
        self._count = 0

    def pick(
        self,
        service: str,
        candidates: Sequence[Instance],
        strategy: Strategy | str,
        meta: Filter,
        narrowed: tuple[str, ...] = (),
    ) -> Instance:
        """Return one of ``candidates``, which isn't empty. Raises ``InvalidArgument`` for an unknown strategy.

        ``narrowed`` says to what else the candidates were narrowed: turns are counted separately for it.
        """
        if strategy == Strategy.RANDOM:
            return random.choice(candidates)  # noqa: S311 - spreads load, hides nothing
        if strategy == Strategy.ROUND_ROBIN:
            return self._round_robin(_group(service, meta, narrowed), candidates)
        if strategy == Strategy.LEAST_RECENTLY_USED:
            return self._least_recent(service, candidates)
        if strategy == Strategy.WEIGHTED:
            with self._lock:
                return self._weighted.take(_group(service, meta, narrowed), candidates)
        raise InvalidArgument(
            f"picking an instance of {service!r}: no such strategy: {strategy!r}; choose from {', '.join(Strategy)}"
        )

    def _round_robin(self, group: tuple[str, ...], candidates: Sequence[Instance]) -> Instance:
        with self._lock:
            turn = self._turns.pop(group, 0)
            self._turns[group] = turn + 1
            if len(self._turns) > _REMEMBERED:
                self._turns.popitem(last=False)
        return candidates[turn % len(candidates)]

    def _least_recent(self, service: str, candidates: Sequence[Instance]) -> Instance:
        with self._lock:
            last = self._last.pop(service, {})
            chosen = min(candidates, key=lambda instance: last.get((instance.id, instance.host), 0))
            self._count += 1
            last[(chosen.id, chosen.host)] = self._count
            if len(last) > 2 * len(candidates) + 64:
                present = {(instance.id, instance.host) for instance in candidates}
                last = {who: turn for who, turn in last.items() if who in present}
            self._last[service] = last
            if len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)
        return chosen


def _group(service: str, meta: Filter, narrowed: tuple[str, ...]) -> tuple[str, ...]:
    return (service, repr(sorted(meta.items(), key=str)) if isinstance(meta, Mapping) else "", *narrowed)
