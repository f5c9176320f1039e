"""Choose one instance of several."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from enum import StrEnum

from tenure._runtime.monitor import Monitor
from tenure.errors import InvalidArgument
from tenure.registry.model.filters import Filter
from tenure.registry.model.instance import Instance

_REMEMBERED = 1024


class Strategy(StrEnum):
    """Name a way to choose one instance of several.

    Attributes:
        ROUND_ROBIN: each instance in turn.
        RANDOM: any instance, all with the same probability.
        LEAST_RECENTLY_USED: the instance whose last turn is longest ago; an instance without a turn comes first.
    """

    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LEAST_RECENTLY_USED = "least_recently_used"


class Picker:
    """Keeps the turns of each service. Thread-safe.

    Turns are counted separately for each mapping of metadata, so callers with different filters don't skip instances
    for each other. All filter functions share the turns of their service.
    """

    def __init__(self) -> None:
        self._lock = Monitor()
        self._turns: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._last: OrderedDict[str, dict[tuple[str, str], int]] = OrderedDict()
        self._count = 0

    def pick(self, service: str, candidates: Sequence[Instance], strategy: Strategy | str, meta: Filter) -> Instance:
        """Return one of ``candidates``, which isn't empty. Raises ``InvalidArgument`` for an unknown strategy."""
        if strategy == Strategy.RANDOM:
            return random.choice(candidates)  # noqa: S311 - spreads load, hides nothing
        if strategy == Strategy.ROUND_ROBIN:
            return self._round_robin(service, candidates, meta)
        if strategy == Strategy.LEAST_RECENTLY_USED:
            return self._least_recent(service, candidates)
        raise InvalidArgument(
            f"picking an instance of {service!r}: no such strategy: {strategy!r}; choose from {', '.join(Strategy)}"
        )

    def _round_robin(self, service: str, candidates: Sequence[Instance], meta: Filter) -> Instance:
        key = (service, repr(sorted(meta.items(), key=str)) if isinstance(meta, Mapping) else "")
        with self._lock:
            turn = self._turns.pop(key, 0)
            self._turns[key] = turn + 1
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
