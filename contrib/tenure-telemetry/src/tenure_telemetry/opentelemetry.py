"""The observer for OpenTelemetry. It uses the API alone: without an SDK nothing is recorded, at little cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation, UpDownCounter

from tenure.errors import TenureError
from tenure.hookspecs import ObservedStore, Outcome, hookimpl
from tenure_telemetry import instruments
from tenure_telemetry.instruments import Instrument, Kind
from tenure_telemetry.labels import AllowList
from tenure_telemetry.measures import Measures, Sink, why_given_up
from tenure_telemetry.traces import Current, Traces

SCOPE = "tenure_telemetry"
"""The name of the instrumentation scope."""


class OpenTelemetry(Measures):
    """Metrics and spans by OpenTelemetry. One object may observe any number of stores.

    Args:
        meter_provider: makes the meter; default: the global one.
        tracer_provider: makes the tracer; default: the global one.
        allow: names that may become labels and attributes; default: none.
    """

    def __init__(
        self,
        *,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        allow: AllowList | None = None,
    ) -> None:
        own = version("tenure-telemetry")
        meter = metrics.get_meter(SCOPE, own, meter_provider)
        super().__init__(_Meters(meter), allow)
        self._traces = Traces(trace.get_tracer(SCOPE, own, tracer_provider), self._allow)
        age = instruments.CACHE_AGE
        meter.create_observable_gauge(age.name, [self._observe_ages], age.unit, age.description)

    @hookimpl
    def tenure_store_closed(self, store: ObservedStore) -> None:
        """Take one from ``tenure.stores.open``, and forget how the store's spans begin."""
        super().tenure_store_closed(store)
        self._traces.store_closed(store)

    @hookimpl
    def tenure_operation_started(self, store: ObservedStore, operation: str, batch_size: int) -> object:
        """Begin the span of an operation."""
        return self._traces.operation_started(store, operation, batch_size)

    @hookimpl
    def tenure_operation_finished(
        self,
        store: ObservedStore,
        operation: str,
        seconds: float,
        outcome: Outcome,
        error: TenureError | None,
        attempts: int,
        context: object,
    ) -> None:
        # Within the span, so that an exemplar of the measurement refers to it.
        """Measure the operation in seconds, and end its span."""
        super().tenure_operation_finished(store, operation, seconds, outcome, error, attempts, context)
        if isinstance(context, Current):
            self._traces.operation_finished(context, outcome, error, attempts)

    @hookimpl
    def tenure_recipe_waiting(self, store: ObservedStore, kind: str, name: str) -> object:
        """Count the waiting program, and begin the span of its wait."""
        super().tenure_recipe_waiting(store, kind, name)
        return self._traces.waiting(store, kind, name)

    @hookimpl
    def tenure_recipe_held(
        self, store: ObservedStore, kind: str, name: str, token: int, seconds: float, context: object
    ) -> None:
        """Measure the wait in seconds, and end its span with the token."""
        super().tenure_recipe_held(store, kind, name, token, seconds, context)
        if isinstance(context, trace.Span):
            self._traces.waited(context, "held", None, token)

    @hookimpl
    def tenure_recipe_given_up(
        self, store: ObservedStore, kind: str, name: str, seconds: float, error: TenureError | None, context: object
    ) -> None:
        """Measure the wait in seconds, and end its span with why it was given up."""
        super().tenure_recipe_given_up(store, kind, name, seconds, error, context)
        if isinstance(context, trace.Span):
            self._traces.waited(context, why_given_up(error), error)

    def _observe_ages(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(seconds, labels) for seconds, labels in self.cache_ages()]


class _Meters(Sink):
    """The instruments of one meter."""

    def __init__(self, meter: Meter) -> None:
        self._sums: dict[Instrument, Counter | UpDownCounter] = {}
        self._histograms: dict[Instrument, Histogram] = {}
        for one in instruments.ALL:
            if one.kind is Kind.COUNTER:
                self._sums[one] = meter.create_counter(one.name, one.unit, one.description)
            elif one.kind is Kind.UP_DOWN:
                self._sums[one] = meter.create_up_down_counter(one.name, one.unit, one.description)
            elif one.kind is Kind.HISTOGRAM:
                self._histograms[one] = meter.create_histogram(
                    one.name, one.unit, one.description, explicit_bucket_boundaries_advisory=one.boundaries
                )

    def add(self, instrument: Instrument, value: int, labels: Mapping[str, str | int]) -> None:
        self._sums[instrument].add(value, labels)

    def record(self, instrument: Instrument, value: float, labels: Mapping[str, str | int]) -> None:
        self._histograms[instrument].record(value, labels)
