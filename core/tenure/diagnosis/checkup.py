"""The whole examination of a store: what it takes to open it, what works, and what its server and the way to it say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tenure._client.opening import Opening
from tenure._client.store import Store
from tenure._plugins import discovery
from tenure._plugins.url import split
from tenure._runtime.deadline import monotonic, wall_clock
from tenure._text import seconds
from tenure.diagnosis.trials import Trials
from tenure.errors import TenureError
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.plugin import BackendPlugin, Caveat, UrlForm
from tenure.spi.types import ServerInfo

DEFAULT_HEARTBEAT = 10.0
"""Seconds; that of ``RegistryConfig``."""
_CLOCK_TOLERANCE = 2.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


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
    checks: tuple[Finding, ...]

    def of(self, *verdicts: Verdict) -> list[Finding]:
        """Return the findings that ended so."""
        return [check for check in self.checks if check.verdict in verdicts]

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
            "checks": [
                {"name": c.name, "verdict": str(c.verdict), "text": c.text, "advice": c.advice} for c in self.checks
            ],
        }


def examine(
    opening: Opening,
    *,
    samples: int = 20,
    read_only: bool = False,
    heartbeat: float = DEFAULT_HEARTBEAT,
    prefix: str = "",
) -> Checkup:
    """Open a store and look at it. Raises what opening it raises; what fails later is a finding.

    Args:
        opening: the store to open.
        samples: gets and puts to time.
        read_only: write nothing.
        heartbeat: seconds, the shortest TTL that the application uses.
        prefix: text that the keys of the examination begin with.

    Returns:
        Everything that was found.
    """
    started = monotonic()
    with opening.patiently() as store:
        seconds_taken = monotonic() - started
        return examine_store(
            store,
            opening.plugin,
            connect_seconds=seconds_taken,
            samples=samples,
            read_only=read_only,
            heartbeat=heartbeat,
            prefix=prefix,
        )


def examine_store(
    store: Store,
    plugin: BackendPlugin | None = None,
    *,
    connect_seconds: float = 0.0,
    samples: int = 20,
    read_only: bool = False,
    heartbeat: float = DEFAULT_HEARTBEAT,
    prefix: str = "",
) -> Checkup:
    """Look at a store that is open already, as :func:`examine` does.

    Args:
        store: the store.
        plugin: its plugin; default: the one of its URL's scheme.
        connect_seconds: how long opening it took, in seconds; 0.0 if nobody measured that.
        samples: gets and puts to time.
        read_only: write nothing.
        heartbeat: seconds, the shortest TTL that the application uses.
        prefix: text that the keys of the examination begin with.

    Returns:
        Everything that was found.
    """
    if plugin is None:
        plugin = discovery.find(split(store.url).scheme)
    checks = [Finding("open", Verdict.OK, f"reachable{_opened_in(connect_seconds)}")]
    server, difference = _ask_server(store, checks)
    rights = {right.use: right.needed for right in plugin.rights}
    trials = Trials(store, rights, samples=samples, read_only=read_only, prefix=prefix)
    trials.run()
    checks += trials.findings
    checks.append(_silence(store, heartbeat))
    checks += _expiry(store, heartbeat)
    checks += _proxy(plugin)
    own = _ask_backend(store)
    checks += own
    said = {finding.text for finding in own}
    checks += [Finding("server", Verdict.WARNING, text) for text in server.warnings if text not in said]
    return Checkup(
        url=store.url,
        connect_seconds=connect_seconds,
        server=server,
        capabilities=store.capabilities.as_dict(),
        get_seconds=trials.get_seconds,
        put_seconds=trials.put_seconds,
        clock_difference=difference,
        checks=tuple(checks),
    )


def caveats_of(url: str) -> tuple[Caveat, ...]:
    """Return what is surprising about every store of the scheme of ``url``, with what verifies it.

    Raises ``UnknownScheme``, or ``PluginError`` if the plugin is broken.
    """
    return discovery.find(split(url).scheme).caveats


def _opened_in(taken: float) -> str:
    return f", opened in {seconds(taken)}" if taken else ""


def _ask_server(store: Store, checks: list[Finding]) -> tuple[ServerInfo, float | None]:
    asked = wall_clock()
    try:
        server = store.server_info()
    except TenureError as exc:
        checks.append(Finding("server", Verdict.FAILED, f"asking the server about itself failed: {exc}"))
        return ServerInfo("unknown", "unknown", 0), None
    difference, clock_check = _clock(server, asked, wall_clock())
    checks += clock_check
    return server, difference


def _ask_backend(store: Store) -> tuple[Finding, ...]:
    """Return what the backend itself found. Its failure is a finding: the rest of the diagnosis stays."""
    try:
        return store._read("diagnose", lambda timeout: store._backend.diagnose(timeout=timeout), None)
    except TenureError as exc:
        return (Finding("server", Verdict.WARNING, f"looking closer at the server failed: {exc}"),)


def _silence(store: Store, heartbeat: float) -> Finding:
    """Whether the heartbeat outlives a connection that leads nowhere, as after a NAT has forgotten it."""
    noticed = store.capabilities.max_watch_failure_detection
    text = f"a connection that leads nowhere, as behind a NAT that forgot it, is given up within {seconds(noticed)}"
    if noticed < heartbeat:
        return Finding("silence", Verdict.OK, f"{text}; the heartbeat of {heartbeat:g} s outlives that")
    return Finding(
        "silence",
        Verdict.WARNING,
        f"{text}, and the heartbeat is {heartbeat:g} s: a living instance may disappear for a moment",
        "set a longer heartbeat, or a shorter time by the URL's options (tenure backends SCHEME)",
    )


def _expiry(store: Store, heartbeat: float) -> Iterable[Finding]:
    """Say if a lease with this heartbeat lives much longer than it asks for."""
    least = store.capabilities.min_ttl
    if heartbeat < least:
        yield Finding(
            "expiry",
            Verdict.WARNING,
            f"the heartbeat of {heartbeat:g} s is raised to {least:g} s, the store's shortest TTL",
            f"set the heartbeat to {least:g} s or more, so that the wait is no surprise",
        )


def _proxy(plugin: BackendPlugin) -> Iterable[Finding]:
    """Say that variables for proxies have no effect, where somebody may count on them."""
    names = [name for name in (*_PROXIES, *map(str.upper, _PROXIES)) if os.environ.get(name)]
    if names and plugin.url_form is UrlForm.HOSTS:
        yield Finding("proxy", Verdict.OK, f"{', '.join(names)}: no effect, the client connects to the hosts itself")


def _clock(server: ServerInfo, asked: float, answered: float) -> tuple[float | None, list[Finding]]:
    """How far the server's clock is from ours: known to within half the time of the question."""
    if server.clock is None:
        return None, []
    difference = server.clock - (asked + answered) / 2
    uncertain = (answered - asked) / 2
    text = f"the server's clock is {difference:+.3f} s from this machine's (to within {seconds(uncertain)})"
    if abs(difference) <= _CLOCK_TOLERANCE + uncertain:
        return difference, [Finding("clock", Verdict.OK, text)]
    # Leases don't depend on it, but logs of the two sides can't be laid side by side.
    return difference, [Finding("clock", Verdict.WARNING, text, "set both clocks by NTP")]
