"""A check without a test file: ``pytest --pyargs tenure.conformance.pytest.quick --tenure-url URL``."""

from __future__ import annotations

from tenure.conformance.pytest.suite import StoreConformance


class TestStore(StoreConformance):
    """The store named by ``--tenure-url``."""
