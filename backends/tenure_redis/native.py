"""The client library's own object for the same server, offered to applications; the plugin doesn't use it."""

from __future__ import annotations

from typing import Any

import redis
from redis import cluster, sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from tenure.spi.credentials import Secret
from tenure.spi.plugin import OpenRequest

_cluster: Any = cluster  # redis-py's own types are incomplete
_sentinel: Any = sentinel


def client(request: OpenRequest) -> Any:
    """A client with the URL's login, database and encryption."""
    login = request.login_source().current()
    common: dict[str, Any] = {
        "username": login.username,
        "password": _text(login.password),
        "socket_timeout": request.timeout,
        "socket_connect_timeout": request.timeout,
        # redis-py's own default repeats any command ten times, also one that was applied.
        "retry": Retry(NoBackoff(), 0),
    }
    if request.tls is not None:
        tls = request.tls
        common |= {"ssl": True, "ssl_ca_certs": tls.ca, "ssl_certfile": tls.cert, "ssl_keyfile": tls.key}
    host = request.hosts[0]
    if "cluster" in request.variants:
        nodes = [_cluster.ClusterNode(one.name, one.port) for one in request.hosts]
        return _cluster.RedisCluster(startup_nodes=nodes, **common)
    common["db"] = request.options["db"]
    if "sentinel" in request.variants:
        own = common | {
            "username": request.options["sentinel_user"],
            "password": _text(request.options["sentinel_password"]),
            "db": 0,
        }
        places = [(one.name, one.port) for one in request.hosts]
        return _sentinel.Sentinel(places, sentinel_kwargs=own, **common).master_for(request.options["master"])
    if "unix" in request.variants:
        return redis.Redis(unix_socket_path=host.name, **common)
    return redis.Redis(host=host.name, port=host.port, **common)


def _text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
