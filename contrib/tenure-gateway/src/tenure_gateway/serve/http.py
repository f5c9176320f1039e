"""The HTTP interface, as an ASGI application: Prometheus' ``http_sd``, plain JSON and a health probe.

    /prometheus              targets for http_sd_config; ?service=NAME (several times) and ?ready=1 choose
    /services                names, each with the number of instances and of ready ones
    /services/NAME           the instances; ?ready=1 and ?zone=ZONE choose; 404 if there is none
    /health                  200 once a state was read

In an outage the last state is served. ``Tenure-Age`` of each response tells how many seconds old it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, unquote

from tenure.registry import Instance
from tenure_gateway.directory import Sight

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")


class HttpInterface:
    """An ASGI application.

    Args:
        look: returns what the directory shows, or ``None`` if it has no state yet.
    """

    def __init__(self, look: Callable[[], Sight | None]) -> None:
        self._look = look

    async def __call__(self, scope: Scope, _receive: object, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        sight = self._look()
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            status, body = 405, {"error": f"{method} isn't served; use GET"}
        elif sight is None:
            status, body = 503, {"error": "the store has not been reached yet"}
        else:
            status, body = self._answer(scope, sight)
        content = json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
        if sight is not None:
            headers.append((b"tenure-age", f"{sight.age:.1f}".encode()))
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})

    def _answer(self, scope: Scope, sight: Sight) -> tuple[int, Any]:
        # The raw path: a service's name may contain an encoded slash.
        path = bytes(scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0].decode("latin-1")
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        ready = query.get("ready", ["0"])[-1] in ("1", "true")
        if path == "/health":
            return 200, {"age": round(sight.age, 1)}
        if path == "/services":
            return 200, {
                name: {"instances": len(instances), "ready": sum(each.ready for each in instances)}
                for name, instances in sight.services.items()
            }
        if path == "/prometheus":
            wanted = query.get("service", list(sight.services))
            instances = [each for name in wanted for each in sight.services.get(name, ()) if each.ready or not ready]
            return 200, [_target(each) for each in instances]
        if path.startswith("/services/"):
            return _service(unquote(path.removeprefix("/services/")), sight, ready=ready, zones=query.get("zone"))
        return 404, {"error": f"there is nothing at {path}; see /services, /prometheus and /health"}


def _service(name: str, sight: Sight, *, ready: bool, zones: Iterable[str] | None) -> tuple[int, Any]:
    found = [
        each.to_dict() | {"address": each.address, "status": each.status, "zone": each.zone, "weight": each.weight}
        for each in sight.services.get(name, ())
        if (each.ready or not ready) and (zones is None or each.zone in zones)
    ]
    return (200, found) if found else (404, {"error": f"no such instance of the service {name!r} is known"})


def _target(instance: Instance) -> dict[str, Any]:
    """Return a target group of one, for Prometheus: metadata that are text or numbers become labels."""
    labels = {
        "__meta_tenure_service": instance.service_name,
        "__meta_tenure_id": instance.id,
        "__meta_tenure_host_name": instance.host_name,
        "__meta_tenure_status": instance.status,
        "__meta_tenure_zone": instance.zone,
    }
    for key, value in instance.meta.items():
        if isinstance(value, str | int | float | bool):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            labels[f"__meta_tenure_meta_{_NOT_IN_LABELS.sub('_', key)}"] = text
    return {"targets": [instance.address], "labels": labels}
