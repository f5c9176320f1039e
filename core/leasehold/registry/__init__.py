"""A service registry on any store: register an instance, find those of others, be told when they come and go.

>>> import leasehold
>>> from leasehold.registry import Instance, Registry
>>> with leasehold.connect("memory://") as store, Registry(store, instance=Instance("web", port=8080)) as registry:
...     [instance.port for instance in registry.get_service("web")]
[8080]

Keys and values are those of the Go package `registry` (gocomponents v0.3), so both can share one store.
"""

from leasehold.errors import InvalidEntry, TakenOver
from leasehold.registry.codec import decode, encode, key_of
from leasehold.registry.config import RegistryConfig
from leasehold.registry.events import EventType, Handler, InstanceEvent, Part, Status, StatusChange, StatusHandler
from leasehold.registry.filters import Filter
from leasehold.registry.instance import Instance, InstanceStatus
from leasehold.registry.picking import Strategy
from leasehold.registry.process import (
    add_handler,
    close,
    current,
    deregister,
    get_registry,
    get_service,
    get_services,
    init,
    pick,
    register,
    update,
    wait_for,
)
from leasehold.registry.registry import Registry
from leasehold.registry.service import Service

__all__ = [
    "EventType",
    "Filter",
    "Handler",
    "Instance",
    "InstanceEvent",
    "InstanceStatus",
    "InvalidEntry",
    "Part",
    "Registry",
    "RegistryConfig",
    "Service",
    "Status",
    "StatusChange",
    "StatusHandler",
    "Strategy",
    "TakenOver",
    "add_handler",
    "close",
    "current",
    "decode",
    "deregister",
    "encode",
    "get_registry",
    "get_service",
    "get_services",
    "init",
    "key_of",
    "pick",
    "register",
    "update",
    "wait_for",
]
