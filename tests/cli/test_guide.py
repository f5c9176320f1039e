"""The pages that come with the wheel: all are there, and read without a site around them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tenure.cli.guide import pages

ROOT = Path(__file__).parents[2]


def test_the_list_names_each_page(run_json) -> None:
    assert [each["page"] for each in run_json("guide")] == list(pages.PAGES)


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_has_no_comments_and_no_links_that_lead_nowhere(run, name: str) -> None:
    result = run("guide", name)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# ")
    prose = re.sub(r"```.*?```", "", result.stdout, flags=re.DOTALL)
    assert "<!--" not in prose
    assert re.findall(r"\]\((?!https?:)[^)]+\)", prose) == []
    named = set(re.findall(r"`tenure guide ([\w-]+)`", result.stdout))
    assert named <= set(pages.PAGES)


def test_the_wheel_gets_exactly_these_pages() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    places = [pages.path_of(name) for name in pages.PAGES]
    assert sorted(wheel["force-include"].items()) == sorted(
        (f"core/docs/{place}", f"tenure/cli/guide/pages/{place}") for place in places
    )


def test_a_page_that_is_not_there_is_told(run) -> None:
    result = run("guide", "nothing")
    assert result.exit_code == 2
    assert "no page 'nothing'; give one of write-a-backend, " in result.stderr
