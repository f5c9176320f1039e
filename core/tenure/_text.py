"""Format bytes and untrusted text for terminals and for JSON."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime

_CANDIDATES = re.compile(r"[^\n -~]")


def visible(text: str) -> str:
    """Return ``text`` on one line without control characters: characters that aren't printable become escapes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shown(value: object) -> str:
    """Return a value for a message, also a number with more digits than Python writes."""
    try:
        text = repr(value)
    except ValueError:
        return f"a number of {value.bit_length() if isinstance(value, int) else 'too many'} bits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return ``value`` as JSON that is safe on a terminal: control and bidi characters are escapes in it.

    Args:
        value: what ``json.dumps`` takes.
        indent: spaces for each level; ``None`` for one line.
        ascii_only: escape every character that isn't ASCII, for an output that can't show it.

    Returns:
        The JSON text, which means the same as without the escapes.
    """
    return _CANDIDATES.sub(_json_escape, json.dumps(value, indent=indent, ensure_ascii=ascii_only))


def _json_escape(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def decode(value: bytes) -> tuple[str, str]:
    """Return ``value`` as text and the encoding's name: ``utf-8`` if the bytes are that, otherwise ``base64``."""
    try:
        return value.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), "base64"


def preview(value: bytes, width: int = 60) -> str:
    """Return ``value`` for one cell of a table: text, cut if it is long; for bytes that aren't text, their size."""
    try:
        text = visible(value[: 4 * width].decode(errors="strict" if len(value) <= 4 * width else "ignore"))
    except UnicodeDecodeError:
        return f"<{len(value)} bytes>"
    return text if len(text) <= width and len(value) <= 4 * width else f"{text[: width - 1]}…"


def clock_time(moment: datetime | None = None) -> str:
    """Return the local time of day with milliseconds, for the beginning of an event's line."""
    return (moment or datetime.now().astimezone()).strftime("%H:%M:%S.%f")[:-3]


def iso_time(moment: datetime | None = None) -> str:
    """Return the moment in ISO 8601 with its offset from UTC, for JSON."""
    return (moment or datetime.now().astimezone()).isoformat(timespec="milliseconds")


def seconds(value: float) -> str:
    """Format a duration given in seconds: ``0.42 ms``, ``87 ms``, ``12.3 s``, ``4 min 5 s``."""
    if value < 0.01:
        return f"{value * 1000:.2f} ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def size(count: int) -> str:
    """Format a number of bytes: ``512 B``, ``1.5 KiB``."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def ordinal(number: int) -> str:
    """Format a number as one of a row: ``1st``, ``2nd``, ``13th``."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def plural(count: int, noun: str) -> str:
    """Format a count with its noun: ``1 key``, ``2 keys``."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") and noun != "key" else f"{count:,} {noun}s"
