"""The kinds of servers by the name of their store, for programs that start one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.servers.etcd import EtcdServer
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.servers.zookeeper import ZooKeeperServer

SERVERS: dict[str, Callable[[], Any]] = {
    "consul": ConsulServer,
    "etcd": EtcdServer,
    "redis": RedisServer,
    "zookeeper": ZooKeeperServer,
}
"""Makers of single servers with quick limits, each with a ``url``."""
