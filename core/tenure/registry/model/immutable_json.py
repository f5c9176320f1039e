"""Immutable JSON values: mappings become read-only and lists become tuples, at every level.

The cache returns the same instance to every caller without a copy, which is safe only if no caller can change it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from sys import intern
from types import MappingProxyType
from typing import NamedTuple, cast

from tenure.errors import InvalidArgument

NO_META: Mapping[str, object] = MappingProxyType({})
"""Metadata that was never given: ``null`` on the wire; an empty mapping is ``{}``."""

_DEEPEST = 100
_SHORT = 16
_SHOWN = 80
_PLAIN = frozenset({int, bool, type(None)})
_SURROGATE = re.compile("[\ud800-\udfff]")

_Text = Callable[[str, "_Where"], str]


class _Where(NamedTuple):
    """The place of a value. Text is made of it only for a message: a long name would cost its length per value."""

    parent: _Where | None
    step: object = None

    def __str__(self) -> str:
        steps: list[str] = []
        place: _Where = self
        while place.parent is not None:
            steps.append(f"[{shown(place.step)}]")
            place = place.parent
        text = "meta" + "".join(reversed(steps))
        return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]}..."


def freeze_meta(meta: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return a read-only copy of ``meta``. Raises ``InvalidArgument`` for a value that JSON can't express."""
    if meta is None or meta is NO_META:
        return NO_META
    if not isinstance(meta, Mapping):
        raise InvalidArgument(
            f"making an instance: meta is a mapping of text to JSON values, not {type(meta).__name__}: {meta!r:.80}"
        )
    return cast("Mapping[str, object]", _freeze(meta, _Where(None), 0, _valid))


def freeze_stored_meta(meta: dict[str, object]) -> Mapping[str, object]:
    """Do the same for parsed JSON, with replacement characters for lone surrogates, which JSON can express."""
    plain: dict[str, object] = {}
    for key, value in meta.items():
        # Nearly all metadata are one level of such values: they are read by the hundred thousand.
        if type(value) is str and value.isascii() and key.isascii():
            plain[intern(key)] = intern(value) if len(value) <= _SHORT else value
        elif type(value) in _PLAIN and key.isascii():
            plain[intern(key)] = value
        else:
            return cast("Mapping[str, object]", _freeze(meta, _Where(None), 0, _repaired))
    return MappingProxyType(plain)


def without_surrogates(text: str) -> str:
    """Return ``text`` with replacement characters for lone surrogates, as Go's reader has them."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def shown(value: object) -> str:
    """Return ``value`` for a message, short whatever it is. ``repr`` of a nested value takes its whole depth."""
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."
    if isinstance(value, int) and value.bit_length() > 4 * _SHOWN:
        return f"a number of {value.bit_length()} bits"
    return repr(value) if value is None or isinstance(value, int | float) else f"a {type(value).__name__}"


def _freeze(value: object, where: _Where, depth: int, text: _Text) -> object:
    if depth > _DEEPEST:
        raise InvalidArgument(f"making an instance: {where} is nested more than {_DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"making an instance: {where} is {value!r}, which JSON can't express")
        return float(value)
    if isinstance(value, Mapping):
        return MappingProxyType(
            {
                _key(key, where, text): _freeze(below, _Where(where, key), depth + 1, text)
                for key, below in value.items()
            }
        )
    if isinstance(value, list | tuple):
        # Lists may be long: the common values need no place of their own.
        return tuple(
            below if type(below) in _PLAIN else _freeze(below, _Where(where, number), depth + 1, text)
            for number, below in enumerate(value)
        )
    raise InvalidArgument(
        f"making an instance: {where} is a {type(value).__name__}; give a JSON value: text, a number, a boolean, "
        "None, a list or a mapping"
    )


def _key(key: object, where: _Where, text: _Text) -> str:
    if not isinstance(key, str):
        raise InvalidArgument(
            f"making an instance: the keys of {where} are text, not {type(key).__name__}: {key!r:.80}"
        )
    return intern(text(key, where))


def _valid(value: str, where: _Where) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgument(
                f"making an instance: {where} has a lone surrogate at position {exc.start}, so it isn't valid text"
            ) from exc
    return _shared(value)


def _repaired(value: str, _where: _Where) -> str:
    return _shared(without_surrogates(value))


def _shared(value: str) -> str:
    # Instances share much of their metadata (zones, versions): one object for all saves most of the memory.
    return intern(str(value)) if len(value) <= _SHORT else str(value)


def thaw(value: object) -> object:
    """Return ``value`` as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: thaw(below) for key, below in value.items()}
    if isinstance(value, tuple):
        return [thaw(below) for below in value]
    return value
