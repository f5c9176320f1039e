"""Tables for people, lines for pipes; what a store holds is never obeyed by a terminal."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tenure._text import json_text, plural, preview, seconds, size, visible
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


_CODES = (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F))
HOSTILE = "".join(map(chr, (*_CODES, *range(0x2066, 0x206A), 0xFEFF, 0xE0001, 0xD800)))


@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_shows_no_control_and_no_bidi_character(*, indent: int | None, ascii_only: bool) -> None:
    value = {"key" + HOSTILE: [HOSTILE, "plain é 漢 🙂", 1.5, None]}
    text = json_text(value, indent=indent, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert all(character.isprintable() or character == "\n" for character in text)
    assert not indent or "\n" in text
    assert ascii_only or "é 漢 🙂" in text


def test_what_tables_and_lines_show_has_no_such_character_either(out: Output, screen: io.StringIO) -> None:
    out.listing([{"a": HOSTILE}], [Column("name", lambda r: r["a"])], empty="")
    out.pairs([("name", HOSTILE)])
    out.line((HOSTILE, "bold"))
    assert not set(HOSTILE) - {"\n", "\x1b"} & set(screen.getvalue())


def test_preview() -> None:
    assert preview(b"short") == "short"
    assert preview(b"x" * 100) == "x" * 59 + "…"
    assert preview(b"\xff\xfe") == "<2 bytes>"
    assert preview("é".encode() * 500) == "é" * 59 + "…"


def test_units() -> None:
    assert [seconds(value) for value in (0.00042, 0.087, 12.34, 245)] == ["0.42 ms", "87 ms", "12.3 s", "4 min 5 s"]
    assert [size(value) for value in (5, 2048, 3 * 2**20)] == ["5 B", "2.0 KiB", "3.0 MiB"]
    assert [plural(1, "key"), plural(2000, "key"), plural(2, "entry")] == ["1 key", "2,000 keys", "2 entries"]


def test_a_narrow_terminal_never_breaks_a_name(out: Output, screen: io.StringIO) -> None:
    name = "x" * 50
    columns = [
        Column("id", lambda r: r["id"], whole=True),
        Column("text", lambda r: r["text"]),
        Column("key", lambda r: r["id"], whole=True),
    ]
    out.listing([{"id": name, "text": "many words " * 9}], columns, empty="")
    assert screen.getvalue().count(name) == 2
    assert "many words" in screen.getvalue()
