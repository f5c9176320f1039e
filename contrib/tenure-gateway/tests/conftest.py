"""The container with the programs, and the rule without one: a loud skip, or a failure if TENURE_REQUIRE says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Programs, missing

from tenure_testkit.servers import engine, require

_NAME = "gateway"
_reasons: set[str] = set()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """nginx, HAProxy, dig and Prometheus; they see the folders of all tests."""
    reason = missing()
    if reason is not None:
        if require.is_required(_NAME):
            pytest.fail(f"nginx, HAProxy, dig and Prometheus must be tested, but {reason}", pytrace=False)
        _reasons.add(reason)
        pytest.skip(f"nginx, HAProxy, dig and Prometheus are not tested: {reason}")
    with Programs(tmp_path_factory.getbasetemp()) as programs:
        yield programs


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store in a file."""
    return f"sqlite://{tmp_path}/store.db"


def pytest_sessionfinish() -> None:
    """Remove what is left, also after an interrupt."""
    engine.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _reasons:
        why = f"nginx, HAProxy, dig and Prometheus ({'; '.join(sorted(_reasons))}); {engine.HOW_TO_GET_ONE}"
        terminalreporter.write_line(f"NOT FULLY TESTED: {why}. TENURE_REQUIRE=all makes this a failure.", red=True)
