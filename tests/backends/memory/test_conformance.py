"""The memory store keeps every rule, with default options and so its default limits."""

import pytest

from tenure.conformance import ServerControls, StoreConformance
from tenure_testkit.servers.controls import memory_controls


class TestMemory(StoreConformance):
    url = "memory://conformance"

    @pytest.fixture
    def store_controls(self) -> ServerControls:
        return memory_controls("conformance")
