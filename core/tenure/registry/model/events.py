"""What a registry reports: changes of instances, and the status of its own registration and its cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tenure.errors import TenureError
from tenure.registry.model.instance import Instance


class EventType(StrEnum):
    """State what happened to an instance.

    Attributes:
        CREATE: the instance was not known before.
        UPSERT: the instance was known and was written again, changed or not.
        DELETE: the instance is gone: it deregistered, or its lease ended.
    """

    CREATE = "create"
    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class InstanceEvent:
    """A change of one instance. Immutable.

    Attributes:
        type: what happened.
        instance: the instance as it is now; for a delete, as it was last.
        previous: the instance as it was before; ``None`` for a create.
    """

    type: EventType
    instance: Instance
    previous: Instance | None = None


class Status(StrEnum):
    """Name the state of a registry's own registration, or of its cache (see :class:`StatusChange`).

    Attributes:
        IDLE: nothing is registered.
        REGISTERED: the instance is registered, and its lease is kept alive.
        RECOVERING: the registration was lost, or may be; the registry registers again. Of the cache: the store refuses
            its watch or can't be reached; the watch keeps trying.
        FAILED: the registration was lost and the registry gave up: too many attempts failed, or another client took
            the identity over. ``register`` starts again.
        CLOSED: the registry was closed.
        FOLLOWING: of the cache alone: it follows the store again.
        HEALTHY: of the health alone: the probe of the own instance succeeds.
        UNHEALTHY: of the health alone: the probe fails, and the instance isn't registered yet, or drains.
    """

    IDLE = "idle"
    REGISTERED = "registered"
    RECOVERING = "recovering"
    FAILED = "failed"
    CLOSED = "closed"
    FOLLOWING = "following"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Part(StrEnum):
    """Name the part of a registry that a status change is about.

    Attributes:
        REGISTRATION: the registry's own registration.
        CACHE: the cache of all instances.
        HEALTH: the health of the registry's own instance, if the configuration has a check.
    """

    REGISTRATION = "registration"
    CACHE = "cache"
    HEALTH = "health"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A change of status, or a failed attempt to register again. Immutable.

    About the cache three are reported. RECOVERING: its watch is without the store, so the cache serves what it knew and
    grows stale. FOLLOWING: it is connected again. FAILED: the watch ended permanently.

    Attributes:
        part: what changed: the registration, the cache or the instance's health.
        status: the status now.
        reason: why, for people.
        error: the error behind it; ``None`` if there is none.
    """

    part: Part
    status: Status
    reason: str
    error: TenureError | None = None


Handler = Callable[[InstanceEvent], object]
StatusHandler = Callable[[StatusChange], object]
