"""Format the output of every command: tables and colours on a terminal, lines in a pipe, or JSON.

* On a terminal: tables, colours (``NO_COLOR`` is respected), people's units.
* In a pipe: one line per row, columns separated by a tab, no header, nothing cut or wrapped.
* ``--json``: one document; streaming commands print one object per line, each flushed at once.

Results go to stdout, remarks to stderr. Text from a store is always escaped, in JSON too: no control or bidi character
and no markup in it reaches the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from tenure._text import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Record = Mapping[str, Any]
Styled = tuple[str, str]
"""A piece of text and its style, such as ``("web", "bold")``; styles are rich's."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, its text for a record, and the style of its cells on a terminal.

    ``whole`` is for names that people copy, such as ids and keys: a narrow terminal never wraps them.
    """

    title: str
    cell: Callable[[Record], object]
    style: str = ""
    right: bool = False
    whole: bool = False


class Output:
    """Writes a command's results. ``console`` is for recording; by default rich inspects the terminal."""

    def __init__(self, *, json: bool, console: Console | None = None) -> None:
        self.json = json
        self._console = console

    @property
    def terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return not self.json and (self._console is not None or sys.stdout.isatty())

    @property
    def console(self) -> Console:
        """Rich's console on stdout; it is imported here, so that pipes and ``--json`` never wait for it."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(highlight=False, soft_wrap=False)
        return self._console

    @property
    def remarks_console(self) -> Console | None:
        """Rich's console for what moves while work is done: stdout or stderr, ``None`` if neither is a terminal."""
        if self.terminal:
            return self.console
        if self.json or not sys.stderr.isatty():
            return None
        from rich.console import Console

        return Console(highlight=False, stderr=True)

    # -- results -----------------------------------------------------------------------------------

    def document(self, value: object) -> None:
        """One JSON document."""
        click.echo(_dumps(value, indent=2))

    def listing(self, records: Sequence[Record], columns: Sequence[Column], *, empty: str) -> None:
        """Many records alike. ``empty`` is the remark for people when there is none."""
        if self.json:
            self.document(list(records))
        elif not self.terminal:
            for record in records:
                click.echo("\t".join(visible(str(column.cell(record))) for column in columns))
        elif not records:
            self.note(empty)
        else:
            from rich.table import Table
            from rich.text import Text

            table = Table(box=None, header_style="bold dim", pad_edge=False, padding=(0, 3, 0, 0))
            for column in columns:
                table.add_column(
                    column.title, justify="right" if column.right else "left", overflow="fold", no_wrap=column.whole
                )
            rows = [[Text(visible(str(column.cell(record))), column.style) for column in columns] for record in records]
            for row in rows:
                table.add_row(*row)
            needed = _least_width(columns, rows)
            if needed > self.console.width:
                # The terminal itself breaks such lines, and a name that is copied from them stays whole.
                table.width = needed
            self.console.print(table, soft_wrap=needed > self.console.width)

    def facts(self, record: Record, facts: Iterable[tuple[str, object]]) -> None:
        """Print one record: ``facts`` are names and texts for people, ``record`` is for ``--json``."""
        if self.json:
            self.document(record)
        else:
            self.pairs(facts)

    def pairs(self, facts: Iterable[tuple[str, object]]) -> None:
        """Names and texts, aligned on a terminal, separated by a tab in a pipe."""
        pairs = [(name, visible(str(text))) for name, text in facts]
        if not self.terminal:
            for name, text in pairs:
                click.echo(f"{name}\t{text}")
            return
        width = max((len(name) for name, _ in pairs), default=0) + _GAP
        for name, text in pairs:
            self.line((name.ljust(width), "bold dim"), (text, ""))

    def heading(self, text: str) -> None:
        """A title between parts; for people only."""
        if self.terminal:
            self.console.print()
            self.line((text, "bold"))

    def done(self, record: Record, *pieces: Styled) -> None:
        """The result of a command that changed something: an object, or a line."""
        if self.json:
            self.document(record)
        else:
            self.line(*pieces)

    def event(self, record: Record, *pieces: Styled) -> None:
        """Print one record of a stream, as one JSON object or one line, and flush it."""
        if self.json:
            click.echo(_dumps(record))
        else:
            self.line(*pieces)
        sys.stdout.flush()

    def line(self, *pieces: Styled) -> None:
        """A line of styled pieces."""
        if not self.terminal:
            click.echo("".join(visible(text) for text, _ in pieces).rstrip())
            return
        from rich.text import Text

        self.console.print(Text.assemble(*((visible(text), style) for text, style in pieces)), soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark for people, on stderr."""
        click.echo(visible(text), err=True)


_GAP = 3
_NARROW = 12
"""Columns between two cells, and as narrow as a cell gets that may be wrapped."""


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> int:
    """Return the width of a table in which no name has to be broken."""
    width = -_GAP
    for number, column in enumerate(columns):
        longest = max(len(column.title), *(row[number].cell_len for row in rows))
        width += _GAP + (longest if column.whole else min(longest, _NARROW))
    return width


def _dumps(value: object, *, indent: int | None = None) -> str:
    text = json_text(value, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json_text(value, indent=indent, ascii_only=True)
    return text
