"""`tenure backends`: every installed plugin, the broken ones with their reason."""

from __future__ import annotations

from typing import Any

import pytest

from tenure._plugins import discovery
from tenure._plugins.discovery import Claim

from .conftest import Run


def test_the_installed_plugins(run: Run, run_json: Any) -> None:
    found = {record["scheme"]: record for record in run_json("backends")}
    assert found.keys() == {claim.scheme for claim in discovery.claims()}
    assert found["memory"]["state"] == "ready"
    assert found["memory"]["claims"][0]["distribution"] == "tenure"
    lines = run("backends").stdout.splitlines()
    assert len(lines) == len(found)


def test_one_of_them_with_its_options(run: Run, run_json: Any) -> None:
    for name in ("memory", "memory://"):
        record = run_json("backends", name)
        assert {"namespace", "timeout"} <= {option["name"] for option in record["options"]}
        assert record["caveats"][0].keys() == {"title", "text", "verified_by"}
    shown = run("backends", "memory").stdout
    assert "namespace" in shown
    assert record["caveats"][0]["text"] in shown


def test_one_that_is_not_installed(run: Run) -> None:
    result = run("backends", "nothing")
    assert result.exit_code == 1
    assert "memory" in result.stderr


def test_a_broken_plugin_is_shown_as_broken(run: Run, run_json: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs nobody else anything."""
    real = discovery.claims()
    broken = Claim("broken", "some-distribution", "1.2", "module_that_is_not_there")
    twice = (Claim("twice", "one", "1", "a"), Claim("twice", "two", "2", "b"))
    monkeypatch.setattr(
        discovery, "claims", lambda group=discovery.GROUP: tuple(sorted((*real, broken, *twice), key=str))
    )
    found = {record["scheme"]: record for record in run_json("backends")}
    assert found["broken"]["state"] == "broken"
    assert "some-distribution 1.2" in found["broken"]["reason"]
    assert found["twice"]["state"] == "broken"
    assert "one, two" in found["twice"]["reason"]
    assert found["memory"]["state"] == "ready"
    assert "broken: " in run("backends").stdout


def test_a_missing_client_library_says_what_to_install(run_json: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    plugin = discovery.find("memory")
    missing = dataclasses.replace(plugin, required_modules=("no_such_module.inside",), pip_extra="some")
    monkeypatch.setitem(discovery._found, "memory", missing)
    record = run_json("backends", "memory")
    assert (record["state"], record["reason"]) == (
        "needs its client",
        "pip install 'tenure[some]' or, in a checkout, pip install '.[some]'",
    )
