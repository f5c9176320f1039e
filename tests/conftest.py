"""Fixtures for all tests: real servers come from the plugin in `tests/support/`."""

import signal

pytest_plugins = [
    "tenure_testkit.servers.plugin",
    "tenure_testkit.servers.redis_plugin",
    "tenure_testkit.servers.zookeeper_plugin",
    "tenure_testkit.servers.consul_plugin",
]

# A shell ignores these for what it runs in the background, and so would every process that a test starts and signals.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGQUIT, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
