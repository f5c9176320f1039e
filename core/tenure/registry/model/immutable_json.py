"""Immutable JSON values: mappings become read-only and lists become tuples, at every level.

The cache returns the same instance to every caller without a copy, which is safe only if no caller can change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from sys import intern
from types import MappingProxyType
from typing import cast

from tenure.errors import InvalidArgument

NO_META: Mapping[str, object] = MappingProxyType({})
"""Metadata that was never given: ``null`` on the wire; an empty mapping is ``{}``."""

_DEEPEST = 100
_SHORT = 16


def freeze_meta(meta: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return a read-only copy of ``meta``. Raises ``InvalidArgument`` for a value that JSON can't express."""
    if meta is None or meta is NO_META:
        return NO_META
    if not isinstance(meta, Mapping):
        raise InvalidArgument(
            f"making an instance: meta is a mapping of text to JSON values, not {type(meta).__name__}: {meta!r}"
        )
    return cast("Mapping[str, object]", _freeze(meta, "meta", 0))


def _freeze(value: object, where: str, depth: int) -> object:
    if depth > _DEEPEST:
        raise InvalidArgument(f"making an instance: {where[:80]}... is nested more than {_DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"making an instance: {where} is {value!r}, which JSON can't express")
        return float(value)
    if isinstance(value, Mapping):
        frozen = {}
        for key, below in value.items():
            if not isinstance(key, str):
                raise InvalidArgument(
                    f"making an instance: the keys of {where} are text, not {type(key).__name__}: {key!r}"
                )
            frozen[intern(_text(key, where))] = _freeze(below, f"{where}[{key!r}]", depth + 1)
        return MappingProxyType(frozen)
    if isinstance(value, list | tuple):
        return tuple(_freeze(below, f"{where}[{number}]", depth + 1) for number, below in enumerate(value))
    raise InvalidArgument(
        f"making an instance: {where} is a {type(value).__name__}; give a JSON value: text, a number, a boolean, "
        "None, a list or a mapping"
    )


def _text(value: str, where: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise InvalidArgument(
                f"making an instance: {where} has a lone surrogate at position {exc.start}, so it isn't valid text"
            ) from exc
    # Instances share much of their metadata (zones, versions): one object for all saves most of the memory.
    return intern(str(value)) if len(value) <= _SHORT else str(value)


def thaw(value: object) -> object:
    """Return ``value`` as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {key: thaw(below) for key, below in value.items()}
    if isinstance(value, tuple):
        return [thaw(below) for below in value]
    return value
