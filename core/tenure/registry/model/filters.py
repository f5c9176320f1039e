"""Select instances by their metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tenure._text import shown
from tenure.errors import InvalidArgument
from tenure.registry.model.immutable_json import thaw
from tenure.registry.model.instance import Instance

Filter = Mapping[str, object] | Callable[[Instance], bool] | None
"""Metadata that an instance must have, with equal values; or a function of the instance; ``None`` accepts all."""


def select(instances: Iterable[Instance], meta: Filter, *, ready: bool) -> tuple[Instance, ...]:
    """Return the instances that pass ``meta``; with ``ready`` only those that accept new work."""
    if meta is not None and not isinstance(meta, Mapping) and not callable(meta):
        raise InvalidArgument(
            f"selecting instances: a filter is a mapping of metadata or a function of an instance, not {shown(meta)}"
        )
    chosen = (instance for instance in instances if instance.ready) if ready else instances
    if meta is None:
        return tuple(chosen)
    if isinstance(meta, Mapping):
        wanted = dict(meta)
        return tuple(instance for instance in chosen if _has(instance.meta, wanted))
    return tuple(instance for instance in chosen if meta(instance))


def describe(meta: Filter, *, ready: bool) -> str:
    """Return text for messages: `` (of those that are ready and have {...})``, empty if everything passes."""
    parts = ["are ready"] if ready else []
    if meta is not None:
        parts.append(f"have {dict(meta)!r}" if isinstance(meta, Mapping) else "pass the given function")
    return f" (of those that {' and '.join(parts)})" if parts else ""


def _has(meta: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    for key, value in wanted.items():
        if key not in meta:
            return False
        found = meta[key]
        if found != value and thaw(found) != value:
            return False
    return True
