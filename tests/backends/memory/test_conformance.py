"""The memory store keeps every rule, with default options and so its default limits."""

import pytest

import leasehold_memory
from leasehold.conformance import Driver, StoreConformance


class TestMemory(StoreConformance):
    url = "memory://conformance"

    @pytest.fixture
    def driver(self) -> Driver:
        server = leasehold_memory.server("conformance")
        return Driver(
            kill=server.pause,
            start=server.resume,
            wipe=server.lose_data,
            cut=server.cut_watches,
            compact=server.compact,
        )
