"""Settings of a registry: the prefix of its entries, the heartbeat, how it registers again, how failed ones rest."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from tenure._client.keys import check_prefix
from tenure._text import shown
from tenure.errors import ConfigError, InvalidKey
from tenure.registry.model.health import HealthCheck
from tenure.registry.model.instance import Instance


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Settings of a registry. Immutable.

    >>> RegistryConfig("prod", heartbeat=5.0).key_prefix
    '/registry/prod/'

    Attributes:
        name: the entries are under ``/registry/<name>/``.
        prefix: replaces ``/registry/<name>/``, exactly as given; ``None`` keeps it.
        heartbeat: seconds, the TTL of the lease. An instance whose process dies disappears after this time.
        max_retry: number of attempts in a row to register again that the store may refuse before the status is FAILED;
            ``None`` never gives up. Attempts during an outage, or while a right or a login is missing, don't count.
        wait: seconds that ``register`` waits for an entry of the same identity to disappear, for example the entry of
            a process that crashed.
        retry_first: seconds, the delay after the first failed attempt. Delays grow in Fibonacci steps.
        retry_longest: seconds, the longest delay.
        jitter: random part of each delay, 0 to 1. A delay lies between ``delay * (1 - jitter)`` and ``delay``, so that
            many instances don't come back at the same time. First attempts are spread over a tenth of the heartbeat,
            or over a millisecond for each known instance if that is longer, times ``jitter``.
        rest_first: seconds for which ``pick`` passes over an instance after its first reported failure. Each further
            failure doubles the time.
        rest_longest: seconds, the longest rest.
        instance: the instance to register at the start, unless the registry itself is given one.
        services: names of the services to follow: the store sends this registry their changes alone. The service of
            its own instance is added. ``None`` follows all. The keys of the entries decide which service they are of.
        warm_file: a file that the registry keeps of what it knows, in a folder that exists. A start that can't reach
            the store fills the cache from it. ``None`` keeps none.
        health: a check of the own instance: ``register`` waits until it is healthy, and it drains while it isn't.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str = "default"
    prefix: str | None = None
    heartbeat: float = 10.0
    max_retry: int | None = 20
    wait: float = 0.0
    retry_first: float = 3.0
    retry_longest: float = 30.0
    jitter: float = 0.5
    rest_first: float = 1.0
    rest_longest: float = 60.0
    instance: Instance | None = None
    services: Collection[str] | None = None
    warm_file: str | os.PathLike[str] | None = None
    health: HealthCheck | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or "/" in self.name:
            raise ConfigError(f"configuring a registry: its name is text without '/', not {shown(self.name)}")
        try:
            check_prefix(self.key_prefix)
        except InvalidKey as exc:
            raise ConfigError(
                f"configuring a registry: its keys can't start with {self.key_prefix[:80]!r}: {exc}"
            ) from exc
        if self.services is not None:
            object.__setattr__(self, "services", _names(self.services))
        if self.warm_file is not None:
            check_file(self.warm_file)
        for field in ("heartbeat", "retry_first", "retry_longest", "rest_first", "rest_longest"):
            _number(field, getattr(self, field), above=0.0)
        _number("wait", self.wait)
        _number("jitter", self.jitter)
        if self.jitter > 1:
            raise ConfigError(
                f"configuring a registry: jitter is a part of the delay, 0 to 1, not {shown(self.jitter)}"
            )
        for what in ("retry", "rest"):
            first, longest = getattr(self, f"{what}_first"), getattr(self, f"{what}_longest")
            if longest < first:
                raise ConfigError(
                    f"configuring a registry: {what}_longest ({longest:g} s) is below {what}_first ({first:g} s)"
                )
        if self.health is not None and not isinstance(self.health, HealthCheck):
            raise ConfigError(f"configuring a registry: health is a HealthCheck, not {self.health!r:.80}")
        if self.max_retry is not None and (not isinstance(self.max_retry, int) or self.max_retry < 0):
            raise ConfigError(
                f"configuring a registry: max_retry is a number of attempts, or None to never give up, not "
                f"{shown(self.max_retry)}"
            )

    @property
    def key_prefix(self) -> str:
        """The prefix of the keys of all entries."""
        return f"/registry/{self.name}/" if self.prefix is None else self.prefix


def _names(services: object) -> frozenset[str]:
    """Return names of services as a set; any collection of text will do."""
    if not isinstance(services, str | bytes) and isinstance(services, Iterable):
        names = list(services)
        if names and all(isinstance(name, str) and name for name in names):
            return frozenset(names)
    raise ConfigError(
        f"configuring a registry: services is a collection of at least one name, or None to follow all, not "
        f"{services!r:.80}"
    )


def check_file(path: object) -> None:
    """Raise ``ConfigError`` unless a file of that name can be kept: it takes the place of what is there."""
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise ConfigError(f"configuring a registry: warm_file is the path of a file, or None, not {path!r:.80}")
    folder = Path(path).parent
    if not folder.is_dir():
        raise ConfigError(f"configuring a registry: warm_file is in {str(folder)!r}, which is no folder; make it first")
    if Path(path).exists() and not Path(path).is_file():
        raise ConfigError(
            f"configuring a registry: warm_file is {str(path)!r}, which is a folder, a device or a pipe; name a file"
        )


def _number(field: str, value: object, *, above: float | None = None) -> None:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not math.isfinite(value)
        or value < 0
        or (above is not None and value <= above)
    ):
        kind = "a positive" if above is not None else "a non-negative"
        raise ConfigError(f"configuring a registry: {field} is {kind}, finite number, not {shown(value)}")
