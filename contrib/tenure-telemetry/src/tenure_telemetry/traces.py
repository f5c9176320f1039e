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

# By their names they would be looked up by code in Python 3.11, which costs as much as the rest of a method.
_CLIENT = SpanKind.CLIENT


@dataclass(frozen=True, slots=True)
class Current:
    """A span that is current, and what makes the one before current again."""

    span: Span
    token: object


_Start = tuple[str, Labels, bool]
"""A span's name and labels, and whether its operation goes on in the background."""


class Traces:
    """Begins and ends spans.

    Args:
        tracer: makes the spans.
        allow: names of locks that may be attributes.
    """

    def __init__(self, tracer: Tracer, allow: AllowList) -> None:
        self._start_span = tracer.start_span
        self._allow = allow
        self._known: dict[int, tuple[ObservedStore, dict[str, _Start]]] = {}
        self._last: tuple[ObservedStore | None, dict[str, _Start]] = (None, {})
        """The store of the last call, which most often is that of the next one."""

    def store_closed(self, store: ObservedStore) -> None:
        """Forget a store: a program may open and close any number of them.

        Args:
            store: the store.
        """
        self._known.pop(id(store), None)
        self._last = (None, {})

    def operation_started(self, store: ObservedStore, operation: str, batch_size: int) -> Current | None:
        """Begin the span of an operation and make it current.

        Args:
            store: the store.
            operation: the kind of call.
            batch_size: how many operations a commit has.

        Returns:
            What :meth:`operation_finished` takes; ``None`` if nothing records spans.
        """
        store_of, begins = self._last
        if store_of is not store:
            begins = self._starts_of(store)
        begin = begins.get(operation)
        if begin is None:
            begin = begins[operation] = self._start_of(store, operation)
        name, labels, background = begin
        if background and not get_current_span().get_span_context().is_valid:
            return None  # every few seconds, for ever: the metrics have it
        if batch_size != 1 and operation == "commit":
            labels = {**labels, "db.operation.batch.size": batch_size}
        span = self._start_span(name, None, _CLIENT, labels)
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
        """Begin the span of an acquisition. It isn't made current: what acquires may continue in another thread.

        Args:
            store: the store.
            kind: what is acquired.
            name: its name.

        Returns:
            The span.
        """
        labels = {**of_store(store), "tenure.lock.kind": kind, **self._allow.lock(name)}
        return self._start_span(f"acquire {kind}", attributes=labels)

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

    def _starts_of(self, store: ObservedStore) -> dict[str, _Start]:
        known = self._known.get(id(store))
        if known is None or known[0] is not store:
            known = self._known[id(store)] = (store, {})
        self._last = known
        return known[1]

    @staticmethod
    def _start_of(store: ObservedStore, operation: str) -> _Start:
        labels = {**of_store(store), "db.operation.name": operation}
        return f"{operation} {store.namespace or store.scheme}", labels, operation == "refresh"
