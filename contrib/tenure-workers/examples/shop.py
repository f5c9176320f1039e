"""A WSGI service: registration of each gunicorn worker, and a stop that loses no request.

STORE=sqlite:///tmp/shop.db PORT=8001 gunicorn --config gunicorn.conf.py --bind 127.0.0.1:8001 shop:application
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from tenure_workers import Lifespan, TenureMiddleware

import tenure
from tenure.registry import Instance

PORT = int(os.environ.get("PORT", "8000"))

lifespan = Lifespan(
    os.environ.get("STORE", "memory://"),
    lambda: Instance("shop", host="127.0.0.1", port=PORT),
    drain_wait=float(os.environ.get("DRAIN_WAIT", "1")),
    stop_timeout=float(os.environ.get("STOP_TIMEOUT", "8")),
)

if os.environ.get("TOUCH"):
    # With --preload this runs in the master process. Each worker gets a store of its own all the same.
    lifespan.store.put("shop/loaded", b"yes")


def shop(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer an order, a slow request, or who this is."""
    path = environ["PATH_INFO"]
    content: dict[str, object] = {"port": PORT, "pid": os.getpid()}
    if path == "/orders":
        content["number"] = tenure.Counter(lifespan.store, "orders").add()
    elif path == "/slow":
        time.sleep(float(parse_qs(environ["QUERY_STRING"])["seconds"][0]))
    body = json.dumps(content).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


application = TenureMiddleware(shop, lifespan)
