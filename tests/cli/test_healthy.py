"""`tenure healthy`: exit codes 0 and 1, nothing else, and nothing written."""

from __future__ import annotations

from typing import Any

import tenure
from tenure.registry import Instance, Registry

from .conftest import Run


def test_a_store_that_answers(run: Run, store: tenure.Store) -> None:
    before = store.get_with_revision("x").revision
    assert run("healthy").exit_code == 0
    assert store.get_with_revision("x").revision == before


def test_a_service_with_ready_instances(run: Run, run_json: Any, store: tenure.Store) -> None:
    instance = Instance("web", id="a", port=80)
    assert run("healthy", "web").exit_code == 1
    with Registry(store, instance=instance) as registry:
        assert run_json("healthy", "web")["healthy"] is True
        assert run("healthy", "web", "--id", "a", "--here").exit_code == 0
        assert run("healthy", "web", "--id", "b").exit_code == 1
        assert run("healthy", "we").exit_code == 1
        few = run("healthy", "web", "--count", "2")
        assert (few.exit_code, few.stdout) == (1, "")
        assert "1 of 2 ready instances of 'web'" in few.stderr
        registry.drain()
        assert run("healthy", "web").exit_code == 1


def test_a_store_that_is_away_is_exit_code_1(run: Run) -> None:
    """2 is reserved by Docker, and 3 would be the code of other commands."""
    result = run("healthy", TENURE_URL="redis://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("not healthy: ")
    assert run("healthy", "--quiet", TENURE_URL="redis://127.0.0.1:1").stderr == ""
