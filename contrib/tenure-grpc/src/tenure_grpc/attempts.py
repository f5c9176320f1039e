"""Which instance gets a call, and whether another one may get it after a failure. No I/O, for both channels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc

from tenure import ConfigError, NoInstanceAvailable, ServiceNotFound
from tenure.plugin_kit import Deadline
from tenure.registry import Instance, Service, Strategy

_LONGEST_BACKOFF = 5000
"""Milliseconds between attempts to connect to an address that doesn't answer, at most."""


class Picks(Protocol):
    """What a channel asks of a registry: ``tenure.registry.Registry`` and ``tenure.aio.Registry`` have it."""

    def pick(
        self,
        name: str,
        strategy: Strategy | str = ...,
        *,
        exclude: Collection[Instance | str] = ...,
        zones: Sequence[str] = ...,
        sticky: str | bytes | None = ...,
    ) -> Instance: ...

    def get_service(self, name: str) -> Service: ...

    def report_failure(self, instance: Instance) -> float: ...

    def report_success(self, instance: Instance) -> None: ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a channel chooses and repeats. The channels' documentation explains each."""

    service: str
    strategy: Strategy
    zones: Sequence[str]
    sticky: Callable[[str, Sequence[tuple[str, Any]]], str | bytes | None] | None
    idempotent: Callable[[str], bool]
    attempts: int
    connect_timeout: float


def options(
    service: str,
    *,
    strategy: Strategy | str,
    zones: Sequence[str],
    sticky: Callable[[str, Sequence[tuple[str, Any]]], str | bytes | None] | None,
    idempotent: Collection[str] | Callable[[str], bool],
    attempts: int,
    connect_timeout: float,
) -> Options:
    """Check what a channel was given. Raises ``ConfigError``."""
    if attempts < 1:
        raise ConfigError(f"making a channel: attempts is a number of at least 1, not {attempts!r}")
    if strategy not in list(Strategy):
        raise ConfigError(f"making a channel: strategy is one of {', '.join(Strategy)}, not {strategy!r}")
    if not connect_timeout > 0:
        raise ConfigError(f"making a channel: connect_timeout is a positive number of seconds, not {connect_timeout!r}")
    if isinstance(idempotent, str):
        raise ConfigError(f"making a channel: idempotent is a collection of methods; write idempotent=[{idempotent!r}]")
    among = idempotent if callable(idempotent) else frozenset(idempotent).__contains__
    return Options(service, Strategy(strategy), tuple(zones), sticky, among, attempts, connect_timeout)


def connection_options(connect_timeout: float, given: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the options of a connection: it gives up in time, and what the caller gave comes last, so it counts."""
    milliseconds = max(int(connect_timeout * 1000), 1)
    return [
        ("grpc.min_reconnect_backoff_ms", milliseconds),  # also the limit of one attempt to connect
        ("grpc.initial_reconnect_backoff_ms", min(milliseconds, 1000)),
        ("grpc.max_reconnect_backoff_ms", max(milliseconds, _LONGEST_BACKOFF)),
        # A connection of its own for each channel: one that is closed takes nothing of another one along.
        ("grpc.use_local_subchannel_pool", 1),
        *given,
    ]


@dataclass(slots=True)
class Attempts:
    """The attempts of one call. Ask :meth:`pick`, try that, and report how it ended."""

    registry: Picks
    options: Options
    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, Any]]
    patient: bool
    """``wait_for_ready`` of the call."""
    _deadline: Deadline | None = None
    _excluded: set[str] = field(default_factory=set)
    _made: int = 0
    _last: Exception | None = None

    def __post_init__(self) -> None:
        self._deadline = None if self.timeout is None else Deadline(self.timeout)

    @property
    def late(self) -> bool:
        """Whether the time of the call is up."""
        return self._deadline is not None and self._deadline.expired

    def left(self) -> float | None:
        """Return the seconds that the call has left; ``None`` for no limit."""
        return None if self._deadline is None else self._deadline.remaining()

    def for_connecting(self) -> float:
        """Return the seconds that this attempt may wait for a connection: others need time, too."""
        left = self.left()
        seconds = self.options.connect_timeout
        return seconds if left is None else min(seconds, left / max(self.options.attempts - self._made + 1, 1))

    def pick(self) -> Instance | None:
        """Choose an instance. ``None``: there is none now, but the call waits for one.

        Raises:
            NoInstanceAvailable: there is none, or none that wasn't tried.
            ServiceNotFound: the same.
        """
        options = self.options
        sticky = None if options.sticky is None else options.sticky(self.method, self.metadata)
        try:
            instance = self.registry.pick(
                options.service, options.strategy, exclude=self._excluded, zones=options.zones, sticky=sticky
            )
        except (NoInstanceAvailable, ServiceNotFound):
            if self.patient and not self.late:
                self._excluded.clear()
                return None
            raise
        self._made += 1
        return instance

    @property
    def last(self) -> Exception | None:
        """How the last attempt failed. If no instance is left to try, that is the call's error."""
        return self._last

    def not_connected(self, instance: Instance, error: Exception) -> bool:
        """Report that no connection could be made. Returns whether another instance may be tried."""
        self._failed(instance, error)
        return not self.late and (self.patient or self._made < self.options.attempts)

    def ended(self, instance: Instance, outcome: Any, *, connected: bool) -> bool:
        """Report that a call has ended, with an error or well.

        Args:
            instance: where it was sent.
            outcome: the call, or its error.
            connected: whether the connection still is there.

        Returns:
            Whether another instance may get it.
        """
        if outcome.code() is not grpc.StatusCode.UNAVAILABLE or connected:
            self.registry.report_success(instance)  # it answers
        else:
            self._failed(instance, outcome)
        if outcome.code() is not grpc.StatusCode.UNAVAILABLE:
            return False
        self._excluded.add(instance.id)
        self._last = outcome
        return self.options.idempotent(self.method) and not self.late and self._made < self.options.attempts

    def succeeded(self, instance: Instance) -> None:
        """Report that the instance has answered."""
        self.registry.report_success(instance)

    def _failed(self, instance: Instance, error: Exception) -> None:
        self._last = error
        for each in self._same_address(instance):
            self._excluded.add(each.id)
            self.registry.report_failure(each)

    def _same_address(self, failed: Instance) -> list[Instance]:
        """The instance that failed, and the others at its address: workers of one server share a port."""
        try:
            known = self.registry.get_service(self.options.service).instances
        except (ServiceNotFound, NoInstanceAvailable):
            known = ()
        return [failed, *(each for each in known if each.address == failed.address and each.id != failed.id)]
