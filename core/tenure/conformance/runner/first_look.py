"""Look at the store before the first rule: what it is, whether it answers, and how long its calls take.

A store that opens and then answers no call would let every rule wait for its own timeouts. The look finds that with one
put, and the run is over after it. From how long the calls take follows an estimate of the run.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tenure._client.opening import check_shared, connect
from tenure._client.store import Store
from tenure._plugins import url as urls
from tenure.conformance.harness.context import in_namespace
from tenure.errors import OutcomeUnknown, PluginError, TenureError, Unavailable
from tenure.spi import Capabilities, ServerInfo

T = TypeVar("T")

_CALLS_OF_A_LOOK = 4
"""It makes three calls, each with a timeout."""
_CALLS_OF_A_TRIAL = 1.5
"""Its calls share one timeout; the rest is for a plugin that is a little late."""
_TRIALS = 3
"""Puts and reads whose shortest times count."""

_SECONDS_OF_A_RULE = 1.0
_WRITES_OF_A_RULE = 22.0
_READS_OF_A_RULE = 12.0
"""What a rule takes on average, waiting and calls that follow each other. Measured on stores of which a commit takes
0, 0.1 and 0.5 s; see ``estimate``."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the calls of a store take, in seconds."""

    write: float
    read: float

    def estimate(self, rules: int) -> float:
        """Return the seconds that a run of so many rules takes, roughly: within a factor of two."""
        return rules * (_SECONDS_OF_A_RULE + _WRITES_OF_A_RULE * self.write + _READS_OF_A_RULE * self.read)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The store as it was before the first rule."""

    url: str
    """Shows no password."""
    scheme: str
    server: ServerInfo | None
    """``None`` if the server could not be asked."""
    capabilities: Capabilities
    pace: Pace | None = None
    """``None`` if it wasn't measured."""
    silence: str | None = None
    """Why no rule can be tried, though the store could be opened; ``None`` if it answers."""
    notes: tuple[str, ...] = ()


def look(url: str, timeout: float) -> StoreFacts:
    """Look at the store on a thread of its own: a plugin that overruns its timeouts must not hold up the run.

    Raises ``ConfigError`` for a store that each opener has alone, ``PluginError`` for a call that doesn't return, and
    whatever opening the store raises.
    """
    check_shared(url)
    doing = ["opening the store"]
    limit = _CALLS_OF_A_LOOK * timeout
    facts = _in_time(lambda: _facts(url, timeout, doing), limit)
    if facts is None:
        raise PluginError(
            f"{doing[-1]}: the plugin did not return within {limit:g} s, and was given {timeout:g} s; "
            "let each of its calls keep the timeout that it is given"
        )
    pace, silence = _trial(url, timeout)
    return dataclasses.replace(facts, pace=pace, silence=silence)


def silence_of(url: str, timeout: float) -> str | None:
    """Return why no rule can be tried on a store that can be opened; ``None`` if it answers, or can't be opened."""
    try:
        return _trial(url, timeout)[1]
    except Unavailable:
        return None


def _in_time(work: Callable[[], T], limit: float) -> T | None:
    """What ``work`` returns or raises; ``None`` if it does neither within ``limit`` seconds."""
    found, failed = list[T](), list[BaseException]()

    def run() -> None:
        try:
            found.append(work())
        except BaseException as exc:  # noqa: BLE001 - raised by who waits
            failed.append(exc)

    thread = threading.Thread(target=run, name="tenure-conformance-look", daemon=True)
    thread.start()
    thread.join(limit)
    if failed:
        raise failed[0]
    return found[0] if found else None


def _facts(url: str, timeout: float, doing: list[str]) -> StoreFacts:
    notes: list[str] = []
    with connect(in_namespace(url, ""), timeout=timeout) as store:
        info = None
        try:
            doing.append("asking the server for its description")
            info = store.server_info()
        except TenureError as exc:
            notes.append(f"asking the server for its description: {exc}")
        doing.append("closing the store")
        return StoreFacts(store.url, urls.split(url).scheme, info, store.capabilities, notes=tuple(notes))


def _trial(url: str, timeout: float) -> tuple[Pace | None, str | None]:
    """Try a few calls; return the pace, or why no rule can be tried. Neither if a call hangs: its rules find that."""
    store = connect(in_namespace(url, ""), timeout=timeout)
    try:
        return _in_time(lambda: _try_calls(store, timeout), _CALLS_OF_A_TRIAL * timeout) or (None, None)
    finally:
        _in_time(store.close, timeout)


def _try_calls(store: Store, timeout: float) -> tuple[Pace | None, str | None]:
    """Put, read and delete a key for at most ``timeout`` seconds; return the pace, or why no rule can be tried.

    Anything but silence is left to the rules: they say which guarantee a refusal breaks.
    """
    key, deadline = f"conformance-probe-{uuid.uuid4().hex[:12]}", time.monotonic() + timeout
    took: list[float] = []
    try:
        for call in (*([_put, _get] * _TRIALS), _delete):
            began = time.monotonic()
            call(store, key, max(deadline - began, 0.001))
            took.append(time.monotonic() - began)
    except (Unavailable, OutcomeUnknown) as exc:
        if len(took) >= 2:  # slow, not silent
            return _pace(took), None
        name = "get" if took else "put"
        seen = f"the first {name} raised {type(exc).__name__} after {time.monotonic() - began:.1f} s: {exc}"
        return None, f"the store can be opened and then answers no call: {seen}"
    except TenureError:
        return None, None
    return _pace(took), None


def _pace(took: Sequence[float]) -> Pace:
    return Pace(min(took[0::2]), min(took[1::2]))


def _put(store: Store, key: str, timeout: float) -> None:
    store.put(key, b"", timeout=timeout)


def _get(store: Store, key: str, timeout: float) -> None:
    store.get(key, timeout=timeout)


def _delete(store: Store, key: str, timeout: float) -> None:
    store.delete(key, timeout=timeout)
