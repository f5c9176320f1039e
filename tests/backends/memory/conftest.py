"""Opening the memory store as core does, without core in between."""

from collections.abc import Callable, Iterator

import pytest

from tenure._runtime.clock import Clock, ManualClock
from tenure.spi import Backend, OpenRequest
from tenure_memory.servers import open_backend
from tenure_testkit.probes import closing_all


@pytest.fixture
def open_store(clock: ManualClock) -> Iterator[Callable[..., Backend]]:
    """Opens ``memory://name`` on the test's clock; everything is closed at the end, and no thread is left."""

    def open_memory(name: str = "", *, clock: Clock = clock, history: int | None = None) -> Backend:
        return open_backend(
            OpenRequest(
                url=f"memory://{name}",
                variants=frozenset(),
                path=name,
                options={"history": history},
                timeout=5.0,
                clock=clock,
            )
        )

    with closing_all(open_memory, threads="tenure-memory") as open_one:
        yield open_one
