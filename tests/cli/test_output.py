"""Tables for people, lines for pipes; what a store holds is never obeyed by a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tenure._text import plural, preview, seconds, size, visible
from tenure.cli.ui.output import Column, Output


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def out(screen: io.StringIO) -> Output:
    return Output(json=False, console=Console(file=screen, width=60, force_terminal=True, color_system="truecolor"))


def test_a_table_on_a_terminal(out: Output, screen: io.StringIO) -> None:
    out.listing([{"a": "x", "b": 12}], [Column("name", lambda r: r["a"]), Column("count", lambda r: r["b"])], empty="")
    text = screen.getvalue()
    assert "name" in text
    assert "12" in text
    assert "\x1b[" in text


def test_markup_and_escapes_from_a_store_are_shown_not_obeyed(out: Output, screen: io.StringIO) -> None:
    out.line(("[red]\x1b[2J[/red]", ""))
    out.pairs([("[b]", "\x07")])
    text = screen.getvalue()
    assert "[red]\\x1b[2J[/red]" in text
    assert "[b]" in text
    assert "\x07" not in text


def test_visible() -> None:
    assert visible("plain é 漢") == "plain é 漢"
    assert visible("a\tb\nc\x1b\udcff") == "a\\tb\\nc\\x1b\\udcff"


def test_preview() -> None:
    assert preview(b"short") == "short"
    assert preview(b"x" * 100) == "x" * 59 + "…"
    assert preview(b"\xff\xfe") == "<2 bytes>"
    assert preview("é".encode() * 500) == "é" * 59 + "…"


def test_units() -> None:
    assert [seconds(value) for value in (0.00042, 0.087, 12.34, 245)] == ["0.42 ms", "87 ms", "12.3 s", "4 min 5 s"]
    assert [size(value) for value in (5, 2048, 3 * 2**20)] == ["5 B", "2.0 KiB", "3.0 MiB"]
    assert [plural(1, "key"), plural(2000, "key"), plural(2, "entry")] == ["1 key", "2,000 keys", "2 entries"]
