"""What a registry can be told: where its entries are, how often it shows that it lives, how it comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tenure._client.keys import check_prefix
from tenure.errors import ConfigError, InvalidKey
from tenure.registry.model.instance import Instance


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Settings of a registry. Raises ``ConfigError`` for a value that makes no sense. All times are seconds.

    ``name``           entries are under ``/registry/<name>/``
    ``prefix``         stands in place of ``/registry/<name>/``, exactly as given
    ``heartbeat``      the lease's ttl: an instance that dies is gone after so long
    ``max_retry``      attempts in a row to register again before it is FAILED; ``None`` never gives up
    ``wait``           how long registering waits for an entry of the same identity to go, such as that of
                       a predecessor that crashed
    ``retry_first``    delay after the first failed attempt; it grows in Fibonacci steps
    ``retry_longest``  to this at most
    ``jitter``         how much of each delay is left to chance, 0 to 1: a delay is spread over
                       ``delay x (1 - jitter)`` to ``delay``, so that many instances don't come back together
    ``instance``       registered at the start, unless another one is given to the registry itself
    """

    name: str = "default"
    prefix: str | None = None
    heartbeat: float = 10.0
    max_retry: int | None = 20
    wait: float = 0.0
    retry_first: float = 3.0
    retry_longest: float = 30.0
    jitter: float = 0.5
    instance: Instance | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ConfigError(f"a registry's name is text without '/', not {self.name!r}")
        try:
            check_prefix(self.key_prefix)
        except InvalidKey as exc:
            raise ConfigError(f"a registry's keys can't be under {self.key_prefix[:80]!r}: {exc}") from exc
        for field in ("heartbeat", "retry_first", "retry_longest"):
            _number(field, getattr(self, field), above=0.0)
        _number("wait", self.wait)
        _number("jitter", self.jitter)
        if self.jitter > 1:
            raise ConfigError(f"jitter is a part of the delay, 0 to 1, not {self.jitter!r}")
        if self.retry_longest < self.retry_first:
            raise ConfigError(f"retry_longest ({self.retry_longest:g} s) is below retry_first ({self.retry_first:g} s)")
        if self.max_retry is not None and (not isinstance(self.max_retry, int) or self.max_retry < 0):
            raise ConfigError(f"max_retry is a number of attempts, or None to never give up, not {self.max_retry!r}")

    @property
    def key_prefix(self) -> str:
        """What the keys of all entries start with."""
        return f"/registry/{self.name}/" if self.prefix is None else self.prefix


def _number(field: str, value: object, *, above: float | None = None) -> None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value < 0
        or (above is not None and value <= above)
    ):
        kind = "a positive" if above is not None else "a non-negative"
        raise ConfigError(f"{field} is {kind}, finite number, not {value!r}")
