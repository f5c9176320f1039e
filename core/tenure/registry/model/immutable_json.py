"""JSON values that can't be changed: mappings become read-only, lists become tuples, all the way down.

An instance in the cache is handed to every caller without copying it; that is only safe if nobody can change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from sys import intern
from types import MappingProxyType
from typing import cast

from tenure.errors import InvalidArgument

NO_META: Mapping[str, object] = MappingProxyType({})
"""Metadata that was never given: ``null`` on the wire, where an empty mapping is ``{}``."""

_DEEPEST = 100
_SHORT = 16


def freeze_meta(meta: Mapping[str, object] | None) -> Mapping[str, object]:
    """``meta`` as a read-only copy. Raises ``InvalidArgument`` for what JSON can't express."""
    if meta is None or meta is NO_META:
        return NO_META
    if not isinstance(meta, Mapping):
        raise InvalidArgument(f"meta is a mapping of text to JSON values, not {type(meta).__name__}: {meta!r}")
    return cast("Mapping[str, object]", _freeze(meta, "meta", 0))


def _freeze(value: object, where: str, depth: int) -> object:
    if depth > _DEEPEST:
        raise InvalidArgument(f"{where[:80]}... is nested more than {_DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"{where} is {value!r}, which JSON has no number for")
        return float(value)
    if isinstance(value, Mapping):
        frozen = {}
        for key, below in value.items():
            if not isinstance(key, str):
                raise InvalidArgument(f"the keys of {where} are text, not {type(key).__name__}: {key!r}")
            frozen[intern(_text(key, where))] = _freeze(below, f"{where}[{key!r}]", depth + 1)
        return MappingProxyType(frozen)
    if isinstance(value, list | tuple):
        return tuple(_freeze(below, f"{where}[{number}]", depth + 1) for number, below in enumerate(value))
    raise InvalidArgument(
        f"{where} is a {type(value).__name__}, give what JSON has: text, numbers, booleans, None, lists and mappings"
    )


def _text(value: str, where: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgument(f"{where} has a lone surrogate at position {exc.start}: it isn't valid text") from exc
    # Metadata repeats itself over instances (zones, versions): one object for all saves most of its memory.
    return intern(str(value)) if len(value) <= _SHORT else str(value)


def thaw(value: object) -> object:
    """The plain dictionaries and lists that ``value`` was made of."""
    if isinstance(value, Mapping):
        return {key: thaw(below) for key, below in value.items()}
    if isinstance(value, tuple):
        return [thaw(below) for below in value]
    return value
