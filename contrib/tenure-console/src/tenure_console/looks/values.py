"""Values by codec: JSON, text or bytes, each with how it is shown, and what a form sends back.

A value that is larger than what a page can take is shortened, and says so. Nothing is decided by how a value looks.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from enum import StrEnum

from markupsafe import Markup

from tenure_console.looks.text import show_lines

MOST_SHOWN = 64 * 1024
"""Bytes of a value on a page."""
MOST_EDITED = 256 * 1024
"""Bytes of a value in a form."""
_MOST_HEX = 4096
_ROW = 16
_TOKEN = re.compile(
    r'(?P<name>"(?:[^"\\]|\\.)*+"(?=:))|(?P<str>"(?:[^"\\]|\\.)*+")|(?P<lit>-?\d[\d.eE+-]*|true|false|null)'
)


class Codec(StrEnum):
    """How the bytes of a value are read."""

    JSON = "json"
    TEXT = "text"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Shown:
    """A value as a page shows it.

    Attributes:
        codec: how it was read.
        possible: the codecs that the bytes allow, the one that shows most first.
        body: markup for a ``<pre>``.
        size: bytes of the whole value.
        cut: whether the body has only the beginning.
    """

    codec: Codec
    possible: tuple[Codec, ...]
    body: Markup
    size: int
    cut: bool


class NotReadable(ValueError):
    """What a form sent can't be read by its codec. The message is for the person."""


def possible_codecs(value: bytes) -> tuple[Codec, ...]:
    """Return the codecs that ``value`` can be read by, the one that shows most first."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return (Codec.BYTES,)
    if text.lstrip()[:1] in ("{", "[") and _parsed(text) is not None:
        return (Codec.JSON, Codec.TEXT, Codec.BYTES)
    return (Codec.TEXT, Codec.BYTES)


def shown(value: bytes, codec: Codec | None = None) -> Shown:
    """Return how ``value`` looks by ``codec``; otherwise by the codec that shows most."""
    possible = possible_codecs(value)
    chosen = codec if codec in possible else possible[0]
    if chosen is Codec.BYTES:
        return Shown(chosen, possible, Markup("").join(_hex(value[:_MOST_HEX])), len(value), len(value) > _MOST_HEX)
    text = pretty(value) if chosen is Codec.JSON else value.decode()
    cut = text[:MOST_SHOWN]
    body = _colored(cut) if chosen is Codec.JSON else show_lines(cut)
    return Shown(chosen, possible, body, len(value), len(cut) < len(text))


def pretty(value: bytes) -> str:
    """Return a text in which two values can be compared line by line: JSON is indented. Bytes become hex."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex(" ", _ROW)
    parsed = _parsed(text) if text.lstrip()[:1] in ("{", "[") else None
    return text if parsed is None else json.dumps(parsed, indent=2, ensure_ascii=False)


def preview(value: bytes, width: int = 80) -> str:
    """Return the beginning of a value for one line, in which a mark stands for each line end."""
    try:
        text = value[: 4 * width].decode(errors="strict" if len(value) <= 4 * width else "ignore")
    except UnicodeDecodeError:
        return value[: width // 3].hex(" ")
    return text.rstrip("\r\n").replace("\r\n", " ↵ ").replace("\n", " ↵ ")[:width]


def to_form(value: bytes) -> tuple[Codec, str]:
    """Return the codec and the text with which a form edits ``value`` that changes no byte unless the user does."""
    if possible_codecs(value)[0] is Codec.BYTES or b"\r" in value or b"\0" in value:
        return Codec.BYTES, base64.b64encode(value).decode()
    return Codec.TEXT, value.decode()


def from_form(text: str, codec: Codec) -> bytes:
    """Return the bytes that a form means. Browsers send each line end as CRLF, which becomes LF.

    Raises:
        NotReadable: the text isn't Base64 or JSON, as the codec asks for.
    """
    if codec is Codec.BYTES:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise NotReadable(f"The value is no Base64 ({exc}). Correct it, or choose text.") from exc
    text = text.replace("\r\n", "\n")
    if codec is Codec.JSON:
        try:
            json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise NotReadable(f"The value is no JSON: {exc}. Correct it, or choose text.") from exc
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise NotReadable("The value has characters that can't be written as UTF-8. Leave them out.") from exc


def _parsed(text: str) -> object | None:
    try:
        found: object = json.loads(text)
        return found
    except (ValueError, RecursionError):
        return None


def _colored(text: str) -> Markup:
    parts: list[Markup] = []
    end = 0
    for token in _TOKEN.finditer(text):
        parts.append(show_lines(text[end : token.start()]))
        parts.append(Markup('<span class="j-{}">{}</span>').format(token.lastgroup, show_lines(token[0])))
        end = token.end()
    parts.append(show_lines(text[end:]))
    return Markup("").join(parts)


def _hex(value: bytes) -> list[Markup]:
    rows = []
    for start in range(0, len(value), _ROW):
        row = value[start : start + _ROW]
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in row)
        rows.append(Markup('<span class="off">{:08x}</span>  {}  {}\n').format(start, row.hex(" ").ljust(47), letters))
    return rows
