"""The tests of a store, as its author writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure.conformance import ServerControls, StoreConformance


class TestByFixture(StoreConformance):
    @pytest.fixture
    def store_url(self, tmp_path: Path) -> str:
        return f"nowhere://{tmp_path}"

    @pytest.fixture
    def store_controls(self) -> ServerControls:
        return ServerControls(kill=lambda: None, start=lambda: None)


class TestByUrl(StoreConformance):
    url = "nowhere://here"
