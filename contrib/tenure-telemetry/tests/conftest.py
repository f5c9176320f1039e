"""Containers that tests started are gone at the end, also after an interrupt."""

from __future__ import annotations

from tenure_testkit.servers import engine


def pytest_sessionfinish() -> None:
    """Remove what is left."""
    engine.close()
