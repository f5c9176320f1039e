"""A service that registers itself and finds others."""

from __future__ import annotations

from typing import reveal_type

import tenure
from tenure.registry import EventType, Instance, InstanceEvent, Registry, RegistryConfig, Strategy


def serve(url: str) -> None:
    config = RegistryConfig("shop", heartbeat=5.0, max_retry=None)
    with tenure.connect(url) as store, Registry(store, config, Instance("web", port=8080)) as registry:
        registry.add_handler(told, service="web")
        service = registry.wait_for("web", count=2, timeout=10)
        reveal_type(len(service))  # reveals: int
        for instance in service:
            reveal_type(instance.address)  # reveals: str
        chosen = registry.pick("web", Strategy.LEAST_RECENTLY_USED, meta={"zone": "a"})
        another = registry.pick("web", "weighted", exclude=[chosen, "1"], zones=("a", "b"))
        reveal_type(registry.report_failure(another))  # reveals: float
        registry.report_success(registry.pick("web", sticky=b"key"))
        registry.pick("web", exclude=7)  # error: arg-type
        reveal_type(chosen.meta)  # reveals: typing.Mapping[str, object]
        reveal_type(registry.current())  # reveals: tenure.registry.model.instance.Instance | None
        reveal_type(registry.staleness)  # reveals: float
        registry.get_service("web", 7)  # error: arg-type


def told(event: InstanceEvent) -> None:
    if event.type is EventType.DELETE:
        reveal_type(event.instance.port)  # reveals: int
