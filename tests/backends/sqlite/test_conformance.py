"""The SQLite store keeps every rule."""

from pathlib import Path

import pytest

from leasehold.conformance import StoreConformance


class TestSQLite(StoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"sqlite://{tmp_path}/store.db"
