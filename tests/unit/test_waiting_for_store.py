"""A program that starts before its store does keeps trying in time, and only while the store can't be reached."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import tenure
from tenure import Store
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    InvalidArgument,
    OutcomeUnknown,
    PermissionDenied,
    StoreCorrupted,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.plugin_kit import monotonic
from tenure.registry import Instance, Status, init
from tenure.testing import Sandbox, wait_until
from tenure_testkit.waiting import PATIENCE


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.mark.parametrize("error", [Unavailable, OutcomeUnknown])
@pytest.mark.parametrize("by_url", [False, True])
def test_it_is_tried_again_until_it_is_there(box: Sandbox, error: type[TenureError], *, by_url: bool) -> None:
    refusal = box.faults.fail_calls(3, error=error, kinds="open")
    url, wait = (f"{box.url}?wait_for_store={PATIENCE}", 0.0) if by_url else (box.url, PATIENCE)
    with tenure.connect(url, wait_for_store=wait) as store:
        store.put("key", b"")
    assert refusal.refused == 3


def test_the_pace_is_that_of_outages(box: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tenure._client.opening")
    box.faults.fail_calls(6, kinds="open")
    tenure.connect(box.url, wait_for_store=10 * PATIENCE).close()
    pauses = [record.args[1] for record in caplog.records]
    assert len(pauses) == 6
    assert all(0.1 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses[:5]))
    assert pauses[5] <= 5.0


def test_without_it_there_is_one_attempt(box: Sandbox) -> None:
    refusal = box.faults.fail_calls(1, kinds="open")
    with pytest.raises(Unavailable):
        tenure.connect(box.url)
    assert refusal.refused == 1


def test_it_ends_in_time(box: Sandbox) -> None:
    started = monotonic()
    with box.faults.outage(), pytest.raises(Unavailable):
        tenure.connect(box.url, wait_for_store=0.5)
    assert monotonic() - started < PATIENCE / 2


@pytest.mark.parametrize("error", [AuthenticationFailed, PermissionDenied, StoreCorrupted])
def test_what_waiting_would_not_cure_is_an_error_at_once(box: Sandbox, error: type[TenureError]) -> None:
    box.faults.fail_calls(1, error=error, kinds="open")
    with pytest.raises(error):
        tenure.connect(box.url, wait_for_store=PATIENCE)
    assert box.faults.count("open") == 1


def test_a_requirement_and_a_wrong_url_are_errors_at_once(box: Sandbox) -> None:
    with pytest.raises(Unsupported):
        tenure.connect(box.url, wait_for_store=PATIENCE, require=["durable"])
    with pytest.raises(ConfigError):
        tenure.connect(f"{box.url}?wait_for_stor=1", wait_for_store=PATIENCE)


@pytest.mark.parametrize("wait", [-1.0, float("inf"), float("nan"), "long"])
def test_nonsense_is_refused(wait: object) -> None:
    with pytest.raises(InvalidArgument, match="wait_for_store"):
        tenure.connect("memory://", wait_for_store=wait)  # type: ignore[arg-type]


def test_the_registry_of_a_process_may_start_before_its_store(box: Sandbox) -> None:
    made: list[Status] = []

    def start() -> None:
        with init(box.url, instance=Instance("web", port=80), wait_for_store=PATIENCE) as registry:
            made.append(registry.status)

    with box.faults.outage():
        thread = threading.Thread(target=start)
        thread.start()
        wait_until(lambda: box.faults.count("open") >= 2, within=PATIENCE)
        assert not made
    thread.join(PATIENCE)
    tenure.registry.close()
    assert made == [Status.REGISTERED]


def test_observers_hear_of_a_store_once_it_is_open(box: Sandbox) -> None:
    opened: list[str] = []

    class Observer:
        @tenure.hookspecs.hookimpl
        def tenure_store_opened(self, url: str) -> None:
            opened.append(url)

    box.faults.fail_calls(2, kinds="open")
    store: Store = tenure.connect(box.url, wait_for_store=PATIENCE, observers=[Observer()])
    store.close()
    assert opened == [box.url]
