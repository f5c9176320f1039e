"""Fixtures for all tests: real servers come from the plugin in `tests/support/`."""

pytest_plugins = [
    "leasehold_servers.plugin",
    "leasehold_servers.redis_plugin",
    "leasehold_servers.zookeeper_plugin",
    "leasehold_servers.consul_plugin",
]
