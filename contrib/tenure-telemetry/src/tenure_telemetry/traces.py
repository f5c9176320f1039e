"""Spans of operations and of acquisitions, by OpenTelemetry's API alone.

The span of an operation is current while the store's client library works, so it is the parent of the library's own
spans. Where no SDK is installed, a span that records nothing is not made current, which saves most of the cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer, get_current_span, set_span_in_context

from tenure.errors import TenureError
from tenure.hookspecs import ObservedStore, Outcome
from tenure_telemetry.labels import AllowList, Labels, of_store
from tenure_telemetry.measures import error_type, why_given_up


@dataclass(frozen=True, slots=True)
class Current:
    """A span that is current, and what makes the one before current again."""

    span: Span
    token: object


class Traces:
    """Begins and ends spans.

    Args:
        tracer: makes the spans.
        allow: names of locks that may be attributes.
    """

    def __init__(self, tracer: Tracer, allow: AllowList) -> None:
        self._tracer = tracer
        self._allow = allow
        self._known: dict[int, tuple[ObservedStore, dict[str, tuple[str, Labels]]]] = {}

    def operation_started(self, store: ObservedStore, operation: str, batch_size: int) -> Current | None:
        """Begin the span of an operation and make it current.

        Args:
            store: the store.
            operation: the kind of call.
            batch_size: how many operations a commit has.

        Returns:
            What :meth:`operation_finished` takes; ``None`` if nothing records spans.
        """
        if operation == "refresh" and not get_current_span().get_span_context().is_valid:
            return None  # in the background, every few seconds, for ever: the metrics have it
        name, labels = self._start_of(store, operation)
        if operation == "commit" and batch_size != 1:
            labels = {**labels, "db.operation.batch.size": batch_size}
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=labels)
        if span is INVALID_SPAN or not span.get_span_context().is_valid:
            return None
        return Current(span, otel_context.attach(set_span_in_context(span)))

    def operation_finished(self, current: Current, outcome: Outcome, error: TenureError | None, attempts: int) -> None:
        """End the span of an operation.

        Args:
            current: what :meth:`operation_started` gave.
            outcome: how the operation ended. A conflict is no error.
            error: what it raised.
            attempts: how often the store was asked.
        """
        otel_context.detach(current.token)  # type: ignore[arg-type]  # the API calls it object in some versions
        span = current.span
        if span.is_recording():
            span.set_attribute("tenure.outcome", outcome.value)
            if attempts > 1:
                span.set_attribute("tenure.attempts", attempts)
            if (kind := error_type(outcome, error)) is not None:
                span.set_attribute("error.type", kind)
                span.set_status(StatusCode.ERROR)
        span.end()

    def waiting(self, store: ObservedStore, kind: str, name: str) -> Span:
        """Begin the span of an acquisition. It isn't made current: what acquires may go on in another thread.

        Args:
            store: the store.
            kind: what is acquired.
            name: its name.

        Returns:
            The span.
        """
        labels = {**of_store(store), "tenure.lock.kind": kind, **self._allow.lock(name)}
        return self._tracer.start_span(f"acquire {kind}", attributes=labels)

    def waited(self, span: Span, outcome: str, error: TenureError | None, token: int | None = None) -> None:
        """End the span of an acquisition.

        Args:
            span: what :meth:`waiting` gave.
            outcome: how it ended.
            error: what it raised.
            token: the fencing token of what is held.
        """
        if span.is_recording():
            span.set_attribute("tenure.outcome", outcome)
            if token is not None:
                span.set_attribute("tenure.lock.token", token)
            if error is not None and why_given_up(error) == "error":
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
        span.end()

    def _start_of(self, store: ObservedStore, operation: str) -> tuple[str, Labels]:
        known = self._known.get(id(store))
        if known is None or known[0] is not store:
            known = self._known[id(store)] = (store, {})
        found = known[1].get(operation)
        if found is None:
            target = store.namespace or store.scheme
            found = known[1][operation] = (f"{operation} {target}", {**of_store(store), "db.operation.name": operation})
        return found
