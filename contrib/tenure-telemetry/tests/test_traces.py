"""Spans have the right parents, also on an event loop, and say how an operation ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tenure_telemetry import AllowList
from tenure_telemetry.opentelemetry import OpenTelemetry

import tenure
from tenure import aio
from tenure.errors import Conflict, PermissionDenied
from tenure.hookspecs import ObservedStore
from tenure.testing import Sandbox
from tenure_testkit.waiting import until


class Spans:
    """A provider of spans, and those that have ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the application and the client library")

    def observer(self, allow: AllowList | None = None) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.provider, allow=allow)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    yield spans
    spans.provider.shutdown()


def instrument(store: tenure.Store, spans: Spans) -> None:
    """Let the store's client library make a span in each get, as instrumented gRPC does."""
    get = store._backend.get

    def traced(key: str, *, timeout: float) -> object:
        with spans.tracer.start_as_current_span("library"):
            return get(key, timeout=timeout)

    store._backend.get = traced  # type: ignore[method-assign,assignment]


def child_of(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.context.span_id


def test_a_span_is_between_the_application_and_the_client_library(spans: Spans, tmp_path: Path) -> None:
    with tenure.connect(f"sqlite:///{tmp_path}/store.db?namespace=prod", observers=[spans.observer()]) as store:
        instrument(store, spans)
        with spans.tracer.start_as_current_span("application"):
            store.get("a")
            assert trace.get_current_span().name == "application"  # type: ignore[attr-defined]  # of the SDK
        store.transaction().put("a", b"").put("b", b"").commit()
    operation = spans.one("get prod")
    assert child_of(operation, spans.one("application"))
    assert child_of(spans.one("library"), operation)
    assert operation.kind is SpanKind.CLIENT
    expected = {"db.system.name": "sqlite", "db.namespace": "prod", "db.operation.name": "get"}
    assert operation.attributes == {**expected, "tenure.outcome": "done"}
    assert operation.status.status_code is StatusCode.UNSET
    assert spans.one("commit prod").attributes["db.operation.batch.size"] == 2
    assert "db.operation.batch.size" not in operation.attributes


def test_on_a_loop_each_task_has_its_own_parent(spans: Spans, tmp_path: Path) -> None:
    async def read(store: aio.Store, name: str) -> None:
        with spans.tracer.start_as_current_span(name):
            await store.get(name)

    async def main() -> None:
        async with aio.connect(f"sqlite:///{tmp_path}/store.db", observers=[spans.observer()]) as store:
            instrument(store._sync, spans)
            await asyncio.gather(*(read(store, f"task {number}") for number in range(8)))

    asyncio.run(main())
    operations, libraries = spans.named("get sqlite"), spans.named("library")
    parents = {span.parent.span_id for span in operations if span.parent}
    assert parents == {spans.one(f"task {number}").context.span_id for number in range(8)}
    assert {span.parent.span_id for span in libraries if span.parent} == {span.context.span_id for span in operations}


def test_how_an_operation_ended(spans: Spans) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[spans.observer()])
        store.put("key", b"")
        with pytest.raises(Conflict):
            store.put_if_absent("key", b"")
        box.faults.fail_calls(2, kinds="get")
        store.get("key")
        box.faults.fail_calls(error=PermissionDenied, kinds="list")
        with pytest.raises(PermissionDenied):
            store.list("")
    conflict = spans.named("commit sandbox")[1]
    assert (conflict.status.status_code, conflict.attributes["tenure.outcome"]) == (StatusCode.UNSET, "conflict")
    assert "error.type" not in conflict.attributes
    assert spans.one("get sandbox").attributes["tenure.attempts"] == 3
    refused = spans.one("list sandbox")
    assert (refused.status.status_code, refused.attributes["error.type"]) == (StatusCode.ERROR, "PermissionDenied")
    assert not [span for span in spans.named("commit sandbox") if "key" in str(span.to_json())]


def test_an_acquisition_is_a_span(spans: Spans) -> None:
    observer = spans.observer(AllowList(locks=["shown"]))
    with tenure.connect("memory://", observers=[observer]) as store:
        with spans.tracer.start_as_current_span("application"):
            held = tenure.Lock(store, "shown").acquire()
        assert tenure.Lock(store, "shown").try_acquire() is None
        held.release()
        tenure.Election(store, "hidden").campaign().release()
    first, second = spans.named("acquire lock")
    assert child_of(first, spans.one("application"))
    shown = {"db.system.name": "memory", "tenure.lock.kind": "lock", "tenure.lock.name": "shown"}
    assert first.attributes == {**shown, "tenure.outcome": "held", "tenure.lock.token": held.token}
    assert second.attributes == {**shown, "tenure.outcome": "busy"}
    assert "tenure.lock.name" not in spans.one("acquire election").attributes


def test_refreshes_in_the_background_make_no_traces(spans: Spans) -> None:
    refreshed: list[str] = []

    class Refreshed:
        @tenure.hookspecs.hookimpl
        def tenure_lease_refreshed(self, lease_id: str) -> None:
            refreshed.append(lease_id)

    with Sandbox() as box:
        store = box.connect(observers=[spans.observer(), Refreshed()])
        lease = store.lease(9.0)
        box.clock.advance(3.1)
        until(lambda: refreshed)
        assert spans.names == ["grant sandbox"]
        with spans.tracer.start_as_current_span("application"):
            lease.refresh()
    assert child_of(spans.one("refresh sandbox"), spans.one("application"))


def test_stores_have_spans_of_their_own_and_leave_nothing_behind(spans: Spans) -> None:
    observer = spans.observer()
    urls = [f"memory://left-behind/{name}" for name in ("one", "two")]
    with (
        tenure.connect(urls[0], observers=[observer]) as one,
        tenure.connect(urls[1], observers=[observer]) as two,
    ):
        for store in (one, two, one):
            store.get("key")
    assert spans.names == ["get one", "get two", "get one"]
    del one, two, store
    gc.collect()
    kept = [each.url for each in gc.get_objects() if isinstance(each, ObservedStore) and each.url in urls]
    assert kept == []
