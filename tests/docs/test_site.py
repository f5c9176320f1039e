"""What the site takes from the code is complete: each error, each public name, each hook, each command and option."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

import tenure
from tenure._plugins import discovery

DOCS = Path(__file__).parents[2] / "core/docs"
sys.path.insert(0, str(DOCS))

import check_site  # noqa: E402 - its folder was put on the path above
import site_parts.logs  # noqa: E402

API = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "reference/api").glob("*.md")}
PACKAGES = ("registry", "aio", "testing", "errors", "spi", "plugin_kit", "conformance")


def test_each_public_name_is_on_one_page_of_the_api() -> None:
    listed = re.findall(r"^\.\. auto(?:class|function|data):: tenure\.(\w+)$", "\n".join(API.values()), re.MULTILINE)
    errors = {error.__name__ for error in site_parts.errors.classes()}
    assert sorted(listed) == sorted(set(tenure.__all__) - errors), "core/docs/reference/api: store.md or recipes.md"
    for name in PACKAGES:
        assert re.search(rf"^\.\. automodule:: tenure\.{name}$", "\n".join(API.values()), re.MULTILINE), name


def test_what_a_page_leaves_out_is_on_another() -> None:
    left_out = re.findall(r":exclude-members: (.+)", API["spi"])[0].split(", ")
    assert set(left_out) <= set(tenure.__all__) & set(importlib.import_module("tenure.spi").__all__)


@pytest.mark.parametrize("error", site_parts.errors.classes(), ids=lambda error: error.__name__)
def test_the_catalogue_explains_the_error(error: type[tenure.TenureError]) -> None:
    text = site_parts.errors.explained(error)  # raises ValueError for a section that isn't there
    section = site_parts.errors.catalogue().partition(f"\n## {error.__name__}\n")[2].partition("\n## ")[0]
    for title in site_parts.errors.SECTIONS:
        assert f"- **{title}**: {text[title]}" in section
    assert f"`retry` is `{error.retry.value}`" in section


def test_every_error_that_is_public_is_in_the_catalogue() -> None:
    public = {name for name in tenure.__all__ if isinstance(getattr(tenure, name), type)}
    errors = {name for name in public if issubclass(getattr(tenure, name), Exception)}
    assert errors <= {error.__name__ for error in site_parts.errors.classes()}


def test_commands_and_options_are_those_of_click() -> None:
    text = site_parts.command.reference()
    assert {"`tenure kv get`", "`tenure doctor`", "`tenure lock`"} <= set(re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    assert "| 0 |" in text
    assert "--json" in text


def test_hooks_and_options_are_those_of_the_code() -> None:
    hooks = site_parts.hooks.reference()
    for name in vars(importlib.import_module("tenure.hookspecs")):
        assert name.startswith("tenure_") == (f"## `{name}`" in hooks)
    assert "- `seconds`: " in hooks
    assert "| `wait_for_store` | number, at least 0 |" in site_parts.options.reference()


def test_log_messages_are_found_with_their_loggers() -> None:
    found = {(event.logger, event.level) for event in site_parts.logs.events()}
    assert {("tenure.leases", "warning"), ("tenure.watch", "info"), ("tenure.callbacks", "error")} <= found
    assert not [event for event in site_parts.logs.events() if not event.logger.startswith("tenure")]
    assert "| warning | `%s: lease %s is lost: %s` |" in site_parts.logs.reference()


def test_what_is_supported_names_every_store_of_the_matrix_and_every_python() -> None:
    text = site_parts.support.reference()
    assert set(site_parts.support.LEAST) < set(site_parts.support.tested())
    for claim in discovery.claims():
        said = re.search(r"([\d.]+) and later", discovery.find(claim.scheme).summary)
        assert site_parts.support.LEAST.get(claim.scheme) == (said[1] if said else None), claim.scheme
    assert "| Python | 3.11, " in text
    assert re.search(r"^\| etcd \| 3\.4 or later \| etcd 3\.", text, re.MULTILINE)


def test_links_lead_to_the_place_on_the_site(tmp_path: Path) -> None:
    at = DOCS / "how-to/locks.md"

    def rewrite(text: str, source: str = "") -> str:
        return site_parts.page(text, at, source)

    assert rewrite("[a](../glossary.md#key)") == "[a](../glossary.md#key)"
    assert rewrite("[a](../../../contrib/tenure-asgi/README.md)") == "[a](asgi.md)"
    assert rewrite("[a](https://example.org) [b](#here)") == "[a](https://example.org) [b](#here)"
    assert rewrite("[a\nb](../../../tox.ini)", "https://host/x") == "[a\nb](https://host/x/tox.ini)"
    assert rewrite("[a](../../../tox.ini)").startswith('<span class="in-repository" title="tox.ini')
    block = "```text\n[a](../../../tox.ini)\n```\n"
    assert rewrite(block) == block


def test_a_broken_site_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#one">x</a><a href="#top">x</a><p id="top">')
    (tmp_path / "b.html").write_text('<p id="one"><script src="a.html"></script>')
    assert check_site.main([str(tmp_path)]) == 0
    (tmp_path / "b.html").write_text(
        '<a href="gone.html">x</a><a href="a.html#gone">x</a><img src="https://example.org/x.png">'
    )
    told = check_site.problems(tmp_path)
    assert [line.partition(" ")[0] for line in told] == ["a.html", "b.html", "b.html", "b.html"]
    assert check_site.main([str(tmp_path)]) == 1
