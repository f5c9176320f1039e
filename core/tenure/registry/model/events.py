"""What a registry tells: changes of instances, and what becomes of its own registration and its cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tenure.errors import TenureError
from tenure.registry.model.instance import Instance


class EventType(StrEnum):
    """What happened to an instance."""

    CREATE = "create"
    """It wasn't known before."""

    UPSERT = "upsert"
    """It was known and was written again, changed or not."""

    DELETE = "delete"
    """It is gone: deregistered, or its lease ended."""


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """A change. ``instance`` is as it is now, for a delete as it was last; ``previous`` as it was before."""

    type: EventType
    instance: Instance
    previous: Instance | None = None


class Status(StrEnum):
    """What became of a registry's own registration (or of its cache, see :class:`StatusChange`)."""

    IDLE = "idle"
    """Nothing is registered."""

    REGISTERED = "registered"
    """The instance is registered and kept alive."""

    RECOVERING = "recovering"
    """The registration was lost, or may be, and is being made again."""

    FAILED = "failed"
    """It was lost and won't be made again: too many attempts failed, or somebody else took the identity over."""

    CLOSED = "closed"
    """The registry was closed."""


class Part(StrEnum):
    """What a status change is about."""

    REGISTRATION = "registration"
    CACHE = "cache"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A change of status, or an attempt that failed. ``reason`` is for people, ``error`` what lies behind it.

    About the cache only FAILED is told: its watch ended for good, it serves what it knew, and grows old.
    """

    part: Part
    status: Status
    reason: str
    error: TenureError | None = None


Handler = Callable[[InstanceEvent], object]
StatusHandler = Callable[[StatusChange], object]
