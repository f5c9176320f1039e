"""Fixtures for all tests: real servers come from the plugin in `tests/support/`."""

import signal
import sys

import pytest

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


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Spare a run without Hypothesis the two seconds in which its plugin imports it, for a summary of nothing."""
    manager = session.config.pluginmanager
    elsewhere = session.config.getoption("numprocesses", default=None)
    if "hypothesis" not in sys.modules and not elsewhere and manager.has_plugin("hypothesispytest"):
        manager.unregister(name="hypothesispytest")
