"""The shared suite on this store: all that an outsider has to write."""

from pathlib import Path

import pytest

from tenure.conformance import StoreConformance


class TestJsonFile(StoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"jsonfile://{tmp_path}/state.json?poll=0.05"
