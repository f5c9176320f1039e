"""The README's example runs, and prints what the README says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_prints_what_it_says(url: str) -> None:
    found = re.search(r"```python\n(.*?)```.*?```text\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    code, said = found.groups()
    assert "postgresql://postgres:leasehold@127.0.0.1:5432/shop?database=postgres" in code
    own = url.replace("?", "/shop?", 1)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(re.sub(r'"postgresql://.*?"', repr(own), code), {})
    assert printed.getvalue() == said


def test_the_table_names_every_option_with_its_default() -> None:
    from leasehold_postgresql.plugin import OPTIONS

    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*?) \|$", README.read_text(), re.MULTILINE))
    assert set(rows) == {option.name for option in OPTIONS}
    for option in OPTIONS:
        if option.default is not None:
            shown = option.default if isinstance(option.default, str) else f"{option.default:g}"
            assert rows[option.name].strip("`") == shown
