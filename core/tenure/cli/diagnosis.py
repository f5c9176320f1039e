"""What ``tenure doctor`` finds out about a store, apart from how it is shown."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenure._client.store import Store
from tenure._plugins import discovery
from tenure._plugins.url import split
from tenure._runtime.deadline import monotonic, wall_clock
from tenure._text import seconds
from tenure.errors import TenureError
from tenure.spi.plugin import Caveat
from tenure.spi.types import ServerInfo

SCRATCH = "tenure-doctor-"
_SCRATCH_TTL = 30.0
_CLOCK_TOLERANCE = 2.0


class Verdict(StrEnum):
    """How one check ended. These are the words of the verdict column and of the JSON."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was found. Latencies are medians in seconds, ``None`` where they weren't measured."""

    url: str
    connect_seconds: float
    server: ServerInfo
    capabilities: dict[str, bool | int | float]
    get_seconds: float | None
    put_seconds: float | None
    clock_difference: float | None
    checks: tuple[Check, ...]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "url": self.url,
            "reachable": True,
            "connect_seconds": round(self.connect_seconds, 6),
            "server": {
                "product": self.server.product,
                "version": self.server.version,
                "revision": self.server.revision,
                "details": dict(self.server.details),
            },
            "latency_p50_seconds": {"get": self.get_seconds, "put": self.put_seconds},
            "clock_difference_seconds": self.clock_difference,
            "capabilities": self.capabilities,
            "warnings": list(self.server.warnings),
            "checks": [{"name": c.name, "verdict": str(c.verdict), "text": c.text} for c in self.checks],
        }


def examine(
    connect: Callable[[], Store], *, samples: int, read_only: bool, progress: AbstractContextManager[object]
) -> Checkup:
    """Open a store and look at it. Raises what opening it raises; what fails later is a finding."""
    with progress:
        started = monotonic()
        with connect() as store:
            connected = monotonic() - started
            asked = wall_clock()
            server = store.server_info()
            answered = wall_clock()
            checks = [Check("open", Verdict.OK, f"reachable, opened in {seconds(connected)}")]
            difference, clock_check = _clock(server, asked, answered)
            checks += clock_check
            get_seconds, put_seconds = _try_out(store, samples, read_only, checks)
            checks.append(_silence(store))
            checks += [Check("server", Verdict.WARNING, warning) for warning in server.warnings]
            return Checkup(
                url=store.url,
                connect_seconds=connected,
                server=server,
                capabilities=store.capabilities.as_dict(),
                get_seconds=get_seconds,
                put_seconds=put_seconds,
                clock_difference=difference,
                checks=tuple(checks),
            )


def _silence(store: Store) -> Check:
    """Whether the default heartbeat outlives a connection that leads nowhere, as after a NAT has forgotten it."""
    from tenure.registry import RegistryConfig

    noticed, heartbeat = store.capabilities.max_watch_failure_detection, RegistryConfig().heartbeat
    text = f"a connection that leads nowhere is given up within {seconds(noticed)}"
    if noticed < heartbeat:
        return Check("silence", Verdict.OK, f"{text}; leases with a shorter TTL may be lost by it")
    advice = f"the default heartbeat is {heartbeat:g} s: set a longer one, or a shorter time by the URL's options"
    return Check("silence", Verdict.WARNING, f"{text}, and {advice}")


def _clock(server: ServerInfo, asked: float, answered: float) -> tuple[float | None, list[Check]]:
    """How far the server's clock is from ours: known to within half the time of the question."""
    if server.clock is None:
        return None, []
    difference = server.clock - (asked + answered) / 2
    uncertain = (answered - asked) / 2
    text = f"the server's clock is {difference:+.3f} s from this machine's (to within {seconds(uncertain)})"
    if abs(difference) <= _CLOCK_TOLERANCE + uncertain:
        return difference, [Check("clock", Verdict.OK, text)]
    # Leases don't depend on it, but logs of the two sides can't be laid side by side.
    return difference, [Check("clock", Verdict.WARNING, f"{text}: set both by NTP")]


def _try_out(store: Store, samples: int, read_only: bool, checks: list[Check]) -> tuple[float | None, float | None]:
    """Median seconds of a get and of a put, in keys that go away whatever happens."""
    scratch = f"{SCRATCH}{uuid.uuid4().hex}/"
    try:
        get_seconds = _median(samples, lambda i: store.get(f"{scratch}{i}"))
        checks.append(Check("read", Verdict.OK, f"a get takes {seconds(get_seconds)} (median of {samples})"))
    except TenureError as exc:
        checks.append(Check("read", Verdict.FAILED, f"a get failed: {exc}"))
        return None, None
    if read_only:
        return get_seconds, None
    try:
        with store.lease(max(_SCRATCH_TTL, store.capabilities.min_ttl), keep_alive=False) as lease:
            put_seconds = _median(samples, lambda i: store.put(f"{scratch}{i}", b"doctor", lease=lease))
            checks.append(Check("write", Verdict.OK, f"a put takes {seconds(put_seconds)} (median of {samples})"))
            lease.refresh()
        left = len(store.list(scratch))
    except TenureError as exc:
        checks.append(Check("write", Verdict.FAILED, f"writing failed: {type(exc).__name__}: {exc}"))
        return get_seconds, None
    if left:
        checks.append(Check("lease", Verdict.FAILED, f"{left} of {samples} keys outlived the lease that was revoked"))
    else:
        checks.append(Check("lease", Verdict.OK, "granted, refreshed, revoked; its keys are gone"))
    return get_seconds, put_seconds


def _median(samples: int, call: Callable[[int], object]) -> float:
    taken = []
    for i in range(samples):
        started = monotonic()
        call(i)
        taken.append(monotonic() - started)
    return statistics.median(taken)


def caveats_of(url: str) -> tuple[Caveat, ...]:
    """Return what is surprising about every store of the scheme of ``url``, with what verifies it.

    Raises ``UnknownScheme``, or ``PluginError`` if the plugin is broken.
    """
    return discovery.find(split(url).scheme).caveats
