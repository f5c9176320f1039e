"""Text that anybody may have written, as markup that shows all of it and can do nothing.

Everything is escaped for HTML. A character that isn't printable (controls, bidi marks, zero-width ones) becomes a
visible escape, so that it can neither hide text nor change the order of what stands beside it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from markupsafe import Markup, escape

_MOST_MARKS = 3
"""Combining marks on one character; more of them would be drawn over the lines above and below."""
_LINES = "\n\t"


def show(text: str, limit: int = 200) -> Markup:
    """Return one line of markup for ``text``, at most ``limit`` characters of it."""
    cut = text if len(text) <= limit else text[: limit - 1]
    shown = escape(cut) if cut.isascii() and cut.isprintable() else Markup("").join(_parts(cut, ""))
    return shown if cut is text else shown + Markup('<span class="cut" title="shortened">…</span>')


def show_lines(text: str) -> Markup:
    """Return markup for ``text`` in a ``<pre>``: line ends and tabs stay."""
    return Markup("").join(_parts(text, _LINES))


def plain(text: str, limit: int = 200) -> str:
    """Return ``text`` on one line without characters that aren't printable, for titles and attributes."""
    cut = text[:limit]
    shown = "".join(character if character.isprintable() else _code(character) for character in cut)
    return shown if len(text) <= limit else shown + "…"


def has_invisible(text: str) -> bool:
    """Return whether ``text`` has characters that a reader doesn't see, other than line ends and tabs."""
    return any(not character.isprintable() and character not in "\r\n\t" for character in text)


def _parts(text: str, kept: str) -> Iterator[Markup]:
    run: list[str] = []
    marks = 0
    for character in text:
        if character.isascii():
            fine, marks = character.isprintable() or character in kept, 0
        else:
            marks = marks + 1 if unicodedata.combining(character) else 0
            fine = character.isprintable() and marks <= _MOST_MARKS
        if fine:
            run.append(character)
            continue
        if run:
            yield escape("".join(run))
            run.clear()
        yield Markup('<span class="esc">{}</span>').format(_code(character))
    if run:
        yield escape("".join(run))


def _code(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
