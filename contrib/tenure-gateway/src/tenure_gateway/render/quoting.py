"""Text from a store in a configuration file: what may stand there as it is, and how other text is quoted.

Anybody who may register an instance chooses its fields. So a template's expression may print text only if no format
gives its characters a meaning (``PLAIN``), or if a filter has made :class:`Quoted` of it. Everything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Undefined

_PLAIN = re.compile(r"[A-Za-z0-9._:/@\[\]+,=-]*\Z")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_MOST_SHOWN = 60


class Refused(Exception):
    """Text can't stand in the file. The message says which, and what to do."""


class Quoted(str):
    """Text that a filter has quoted, or that a macro of the template has composed of quoted text."""

    __slots__ = ()


def checked(value: object) -> str:
    """Return what an expression prints for ``value``. Raises ``Refused``."""
    if isinstance(value, Quoted):
        return value
    _check_defined(value)
    if isinstance(value, bool) or value is None:
        raise Refused(f"printing {value!r}: it has no text that all formats share; use a condition, or the filter json")
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise Refused(f"printing a {type(value).__name__}: use the filter json, or print its parts")
    if _PLAIN.match(value):
        return value
    raise Refused(
        f"printing {_shown(value)}: it has characters that may have a meaning in a configuration file; use a filter: "
        "nginx, haproxy, json, name, or raw if you trust its author"
    )


def _quoting(quote: Callable[[str], str], form: str) -> Callable[..., Quoted]:
    def apply(value: Any, default: str | None = None) -> Quoted:
        try:
            return Quoted(quote(_text(value, form)))
        except Refused:
            if default is None:
                raise
            return Quoted(quote(default))

    return apply


def _nginx(text: str) -> str:
    if "$" in text:
        raise Refused(f"quoting {_shown(text)} for nginx: nginx has no way to write '$' where variables are allowed")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _haproxy(text: str) -> str:
    if "%" in text:
        raise Refused(f"quoting {_shown(text)} for HAProxy: '%' would begin a log-format expression")
    return "'" + text.replace("'", "'\\''") + "'"


def _raw(value: Any) -> Quoted:
    _check_defined(value)
    if not isinstance(value, str):
        raise Refused(f"printing a {type(value).__name__} by the filter raw: it takes text")
    if found := _CONTROL.search(value.replace("\n", "").replace("\t", "")):
        raise Refused(f"printing {_shown(value)}: it has the control character {found[0]!r}")
    return Quoted(value)


def _json(value: Any) -> Quoted:
    _check_defined(value)
    try:
        return Quoted(json.dumps(_plain_data(value), ensure_ascii=True))
    except (TypeError, ValueError) as exc:
        raise Refused(f"writing a {type(value).__name__} as JSON: {exc}") from exc


def _name(value: Any) -> Quoted:
    _check_defined(value)
    text = str(value)
    plain = _NOT_IN_NAMES.sub("_", text)[:64]
    # Different texts get different names: a server of HAProxy must not be named as another one.
    return Quoted(plain if plain == text and plain else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:12]}")


FILTERS: Mapping[str, Callable[..., Quoted]] = {
    "nginx": _quoting(_nginx, "nginx"),
    "haproxy": _quoting(_haproxy, "HAProxy"),
    "json": _json,
    "name": _name,
    "raw": _raw,
}


def _check_defined(value: object) -> None:
    if isinstance(value, Undefined):
        str(value)  # raises the error that names it


def _text(value: Any, form: str) -> str:
    _check_defined(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused(f"quoting a {type(value).__name__} for {form}: it takes text or a number")
    text = str(value)
    if found := _CONTROL.search(text):
        raise Refused(f"quoting {_shown(text)} for {form}: it has the control character {found[0]!r}")
    return text


def _plain_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain_data(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_data(part) for part in value]
    return value


def _shown(text: str) -> str:
    return ascii(text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "...")
