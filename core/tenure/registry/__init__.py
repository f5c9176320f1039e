"""Service registry on any store: register an instance, find those of others, get events when they come and go.

``Registry`` is one registry per object; the module's functions serve one registry per process. ``model/`` has the data
and the wire format; ``lifecycle/`` has the registration's state machine, the cache and the handlers; ``choice/`` is how
``pick`` chooses.

>>> import tenure
>>> from tenure.registry import Instance, Registry
>>> with tenure.connect("memory://") as store, Registry(store, instance=Instance("web", port=8080)) as registry:
...     [instance.port for instance in registry.get_service("web")]
[8080]

Keys and values are those of the Go package `registry` (gocomponents v0.3), so both can share one store.
"""

from typing import TYPE_CHECKING

from tenure._later import imported

if TYPE_CHECKING:
    from tenure.errors import MalformedEntry, RegistrationReplaced, Unhealthy
    from tenure.registry.choice.strategies import Strategy
    from tenure.registry.default import (
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
        report_failure,
        report_success,
        update,
        wait_for,
    )
    from tenure.registry.model.config import RegistryConfig
    from tenure.registry.model.events import (
        EventType,
        Handler,
        InstanceEvent,
        Part,
        Status,
        StatusChange,
        StatusHandler,
    )
    from tenure.registry.model.filters import Filter
    from tenure.registry.model.health import HealthCheck, Probe
    from tenure.registry.model.instance import Instance, InstanceStatus
    from tenure.registry.model.probes import CommandProbe, HttpProbe, TcpProbe
    from tenure.registry.model.service import Service
    from tenure.registry.model.wire_format import decode, encode, key_of
    from tenure.registry.registry import Registry

__all__ = [
    "CommandProbe",
    "EventType",
    "Filter",
    "Handler",
    "HealthCheck",
    "HttpProbe",
    "Instance",
    "InstanceEvent",
    "InstanceStatus",
    "MalformedEntry",
    "Part",
    "Probe",
    "RegistrationReplaced",
    "Registry",
    "RegistryConfig",
    "Service",
    "Status",
    "StatusChange",
    "StatusHandler",
    "Strategy",
    "TcpProbe",
    "Unhealthy",
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
    "report_failure",
    "report_success",
    "update",
    "wait_for",
]

_PLACES = {
    "CommandProbe": "tenure.registry.model.probes",
    "EventType": "tenure.registry.model.events",
    "Filter": "tenure.registry.model.filters",
    "Handler": "tenure.registry.model.events",
    "HealthCheck": "tenure.registry.model.health",
    "HttpProbe": "tenure.registry.model.probes",
    "Instance": "tenure.registry.model.instance",
    "InstanceEvent": "tenure.registry.model.events",
    "InstanceStatus": "tenure.registry.model.instance",
    "MalformedEntry": "tenure.errors",
    "Part": "tenure.registry.model.events",
    "Probe": "tenure.registry.model.health",
    "RegistrationReplaced": "tenure.errors",
    "Registry": "tenure.registry.registry",
    "RegistryConfig": "tenure.registry.model.config",
    "Service": "tenure.registry.model.service",
    "Status": "tenure.registry.model.events",
    "StatusChange": "tenure.registry.model.events",
    "StatusHandler": "tenure.registry.model.events",
    "Strategy": "tenure.registry.choice.strategies",
    "TcpProbe": "tenure.registry.model.probes",
    "Unhealthy": "tenure.errors",
    "add_handler": "tenure.registry.default",
    "close": "tenure.registry.default",
    "current": "tenure.registry.default",
    "decode": "tenure.registry.model.wire_format",
    "deregister": "tenure.registry.default",
    "encode": "tenure.registry.model.wire_format",
    "get_registry": "tenure.registry.default",
    "get_service": "tenure.registry.default",
    "get_services": "tenure.registry.default",
    "init": "tenure.registry.default",
    "key_of": "tenure.registry.model.wire_format",
    "pick": "tenure.registry.default",
    "register": "tenure.registry.default",
    "report_failure": "tenure.registry.default",
    "report_success": "tenure.registry.default",
    "update": "tenure.registry.default",
    "wait_for": "tenure.registry.default",
}
"""Where each name is. A program imports what it uses, when it first does."""


def __getattr__(name: str) -> object:
    return imported(__name__, name, _PLACES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
