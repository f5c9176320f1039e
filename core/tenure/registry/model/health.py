"""How the health of an instance is judged: which probe, how often, and how many results in a row count."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tenure._text import shown
from tenure.errors import ConfigError
from tenure.registry.model.instance import Instance

Probe = Callable[[Instance, float], object]
"""A function that returns if an instance is healthy, within so many seconds, and raises :class:`tenure.Unhealthy` with
the reason if not. Any other exception counts as unhealthy, too. It is called on a thread of its own."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A probe and its pace, for ``RegistryConfig(health=...)``. Immutable.

    >>> from tenure.registry import HealthCheck, TcpProbe
    >>> HealthCheck(TcpProbe(), interval=2.0).fall
    3

    Attributes:
        probe: the probe, such as ``TcpProbe()``, ``HttpProbe("/health")`` or a function of an instance and seconds.
        interval: seconds between the end of a probe and the next one.
        timeout: seconds that a probe may take; one that takes longer has failed.
        rise: successes in a row after which the instance is healthy.
        fall: failures in a row after which it is not.
        start_timeout: seconds that ``register`` waits for the instance to become healthy, ``None`` for no limit.

    Raises:
        ConfigError: a value is out of range, or the probe can't be called.
    """

    probe: Probe
    interval: float = 5.0
    timeout: float = 2.0
    rise: int = 1
    fall: int = 3
    start_timeout: float | None = 60.0

    def __post_init__(self) -> None:
        if not callable(self.probe):
            raise ConfigError(f"configuring a health check: the probe is a function, not {self.probe!r:.80}")
        for name in ("interval", "timeout", "start_timeout"):
            value = getattr(self, name)
            if value is None and name == "start_timeout":
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise ConfigError(
                    f"configuring a health check: {name} is a number of seconds above 0, not {shown(value)}"
                )
        for name in ("rise", "fall"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(
                    f"configuring a health check: {name} is a number of probes, 1 or more, not {shown(value)}"
                )


class Tally:
    """Counts results in a row. ``healthy`` is ``None`` until ``rise`` or ``fall`` of them were alike."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._row = 0
        self._last: bool | None = None
        self.healthy: bool | None = None

    def note(self, *, good: bool) -> bool:
        """Count one result; return whether ``healthy`` has changed by it."""
        self._row = self._row + 1 if good is self._last else 1
        self._last = good
        if self._row < (self._check.rise if good else self._check.fall) or self.healthy is good:
            return False
        self.healthy = good
        return True
