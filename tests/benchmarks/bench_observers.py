"""What observers cost a get and a put, on the store in this process: nobody listening, and each of tenure-telemetry's.

The part with tenure-telemetry needs ``pip install opentelemetry-sdk`` and ``contrib/tenure-telemetry``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from sys import is_finalizing
from time import thread_time
from types import MethodType
from typing import Any

from measure import Result, Slice, difference

import tenure
from tenure._client.store import Store
from tenure._runtime import retry
from tenure._runtime.fork import fork_generation
from tenure.hookspecs import hookimpl

_NUMBER = 500
"""Calls in a slice: some 5 ms."""


def _without_look(  # noqa: PLR0917 - as Store._run has them
    store: Store, operation: str, policy: Any, call: Any, timeout: float | None, batch_size: int = 1
) -> Any:
    """Do what ``Store._run`` does, without a look whether anybody listens."""
    if store._closed or store._fork_generation != fork_generation.value or is_finalizing():
        store._check_process()
    if store._abandoned:
        store._callbacks.submit(store._open_watches.close_abandoned)
    seconds = store._timeout if timeout is None else retry.check_timeout(timeout)
    return policy(call, seconds, store._clock)


class _Listens:
    @hookimpl
    def tenure_operation_finished(self, operation: str, seconds: float) -> None:
        pass


def calls(call: Callable[[], object]) -> Slice:
    """A slice by the thread's own CPU time: an observer waits for nothing, and other programs may."""

    def run(number: int) -> float:
        started = thread_time()
        for _ in range(number):
            call()
        return thread_time() - started

    return run


def run(quick: bool) -> Iterator[Result]:
    seconds = 1.0 if quick else 6.0
    yield from _nobody(seconds)
    yield from _against_none("an empty observer", [_Listens()], None, seconds)
    if find_spec("tenure_telemetry") is None or find_spec("opentelemetry") is None:
        yield Result("tenure-telemetry", "not measured", note="tenure-telemetry and opentelemetry-api aren't installed")
        return
    yield from _telemetry(seconds)


def _nobody(seconds: float) -> Iterator[Result]:
    with tenure.connect("memory://benchmark-observers") as store, tenure.connect("memory://benchmark-observers") as raw:
        # Both by an attribute: two classes would get in each other's way in the interpreter's caches.
        store._run, raw._run = MethodType(Store._run, store), MethodType(_without_look, raw)
        yield from _both("nobody listens", store, raw, 0.1, seconds)


def _against_none(name: str, observers: list[object], target: float | None, seconds: float) -> Iterator[Result]:
    url = "memory://benchmark-observers"
    with tenure.connect(url, observers=observers) as store, tenure.connect(url) as raw:
        yield from _both(name, store, raw, target, seconds)


def _both(name: str, store: Store, raw: Store, target: float | None, seconds: float) -> Iterator[Result]:
    value = b"x" * 100
    raw.put("key", value)
    slices = (("get", lambda one: lambda: one.get("key")), ("put", lambda one: lambda: one.put("key", value)))
    for operation, call in slices:
        yield difference(
            f"{operation}, {name}",
            calls(call(store)),
            calls(call(raw)),
            target_us=target,
            seconds=seconds,
            number=_NUMBER,
        )


def _telemetry(seconds: float) -> Iterator[Result]:
    from tenure_telemetry import EventLog, PrometheusCollector
    from tenure_telemetry.opentelemetry import OpenTelemetry

    yield from _against_none("OpenTelemetry without SDK", [OpenTelemetry()], 5.0, seconds)
    yield from _against_none("PrometheusCollector", [PrometheusCollector()], None, seconds)
    log = logging.getLogger("benchmark")
    log.setLevel(logging.WARNING)
    yield from _against_none("EventLog at WARNING", [EventLog(log)], None, seconds)
    if find_spec("opentelemetry.sdk") is None:
        yield Result("OpenTelemetry with SDK", "not measured", note="opentelemetry-sdk isn't installed")
        return
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    meters = MeterProvider([InMemoryMetricReader()])
    sampled, unsampled = TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)
    yield from _against_none(
        "OpenTelemetry with SDK, all spans",
        [OpenTelemetry(meter_provider=meters, tracer_provider=sampled)],
        None,
        seconds,
    )
    yield from _against_none(
        "OpenTelemetry with SDK, no span sampled",
        [OpenTelemetry(meter_provider=meters, tracer_provider=unsampled)],
        None,
        seconds,
    )
    for provider in (meters, sampled, unsampled):
        provider.shutdown()
