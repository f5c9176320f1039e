"""The tables of the page on stores are what the stores declare."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tenure._plugins import discovery

OURS = [claim for claim in discovery.claims() if claim.distribution == "tenure"]
DEFAULTS = {"zookeeper": "zookeeper_default", "consul": "consul_default"}
"""Fixtures of servers with the limits they have by default, where tests otherwise use quicker ones."""
SCRIPT = Path(__file__).parents[2] / "core/docs/make_tables.py"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_shows_what_embedded_stores_declare(tables: ModuleType) -> None:
    assert tables.main(["--check"]) == 0, "python core/docs/make_tables.py brings the page up to date"


@pytest.mark.parametrize("scheme", [claim.scheme for claim in OURS if discovery.find(claim.scheme).url_form == "hosts"])
def test_page_shows_what_servers_declare(tables: ModuleType, scheme: str, request: pytest.FixtureRequest) -> None:
    page = tables.PAGE.read_text()
    url = request.getfixturevalue(DEFAULTS.get(scheme, f"{scheme}_own_url"))
    assert tables.render(page, [url]) == page, f"python core/docs/make_tables.py {url}"


def test_every_store_has_a_section_and_a_full_column(tables: ModuleType) -> None:
    page = tables.PAGE.read_text()
    columns = tables.read_columns(page)
    assert set(columns) == set(tables.schemes(page)) == {claim.scheme for claim in OURS}
    assert not [name for name, column in columns.items() if "?" in column.values()]
