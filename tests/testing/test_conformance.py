"""The layer with the faults keeps every guarantee of the store inside, and its faults are those of real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tenure._runtime.clock import SystemClock
from tenure.conformance import ServerControls, StoreConformance
from tenure.testing import Sandbox


class TestSandbox(StoreConformance):
    @pytest.fixture
    def box(self) -> Iterator[Sandbox]:
        with Sandbox(clock=SystemClock()) as box:
            yield box

    @pytest.fixture
    def store_url(self, box: Sandbox) -> str:
        return box.url

    @pytest.fixture
    def store_controls(self, box: Sandbox) -> Iterator[ServerControls]:
        with ExitStack() as outage, ExitStack() as freeze:

            def pause() -> None:
                freeze.enter_context(box.faults.hang())
                box.faults.cut_watches()  # a frozen server's connection is given up; freeze() leaves that to the test

            yield ServerControls(
                kill=lambda: outage.enter_context(box.faults.outage()),
                start=outage.close,
                cut=box.faults.cut_watches,
                compact=box.faults.compact,
                pause=pause,
                resume=freeze.close,
            )
