"""A check without a test file: ``pytest --pyargs leasehold.conformance.quick --leasehold-url URL``."""

from __future__ import annotations

from leasehold.conformance.suite import StoreConformance


class TestStore(StoreConformance):
    """The store named by ``--leasehold-url``."""
