"""The README's example runs, and prints what the README says."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest
from tenure_postgresql.plugin import tenure_backend

from tenure.conformance import StoreConformance
from tenure.conformance.harness.rule import catalogue
from tenure.spi import Caveat

RULES = {rule.id for rule in catalogue(StoreConformance).values()}

HOME = Path(__file__).parents[1]
README = HOME / "README.md"


def test_the_example_prints_what_it_says(url: str) -> None:
    found = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    code, said = found.groups()
    assert "postgresql://postgres:tenure@127.0.0.1:5432/shop?database=postgres" in code
    own = url.replace("?", "/shop?", 1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(re.sub(r'"postgresql://.*?"', repr(own), code), {})
    assert printed.getvalue() == said


def test_the_table_names_every_option_with_its_default() -> None:
    from tenure_postgresql.plugin import OPTIONS

    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|.*\|$", README.read_text(), re.MULTILINE))
    assert set(rows) == {option.name for option in OPTIONS}
    for option in OPTIONS:
        if option.default is not None:
            assert rows[option.name] == f"`{option.default}`"


@pytest.mark.parametrize("note", tenure_backend().caveats, ids=lambda note: note.title)
def test_what_is_worth_knowing_is_on_the_page_and_checked_by_what_it_names(note: Caveat) -> None:
    page = " ".join(README.read_text().split())
    assert f"- **{note.title}.** {note.text} " in page
    assert note.verified_by
    for name in note.verified_by:
        file, separator, test = name.partition("::")
        if not separator:
            assert name in RULES
            assert f"`{name}`" in page
        else:
            tree = ast.walk(ast.parse((HOME / file).read_text()))
            assert test in {each.name for each in tree if isinstance(each, ast.FunctionDef)}
            assert f"[`{test}`]({file})" in page


def test_the_table_of_rights_has_what_the_plugin_says() -> None:
    """The page on stores keeps this column as it is where the plugin isn't installed."""
    page = (HOME.parents[1] / "core/docs/reference/stores.md").read_text("utf-8")
    table = page.partition("<!-- table: rights -->\n")[2].partition("<!-- end of table -->")[0]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    column = head.index("`postgresql`")
    rights = {str(right.use): right.needed for right in tenure_backend().rights}
    assert {row[0]: row[column] for row in rows} == rights
