"""A store that can be killed, an agent in front of it, and programs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tenure
import tenure_memory
from tenure import Store
from tenure._client.opening import prepare
from tenure._plugins import discovery
from tenure.agent import Agent, AgentSettings, Limits
from tenure.hookspecs import hookimpl
from tenure.spi import BackendPlugin, OpenRequest, UrlForm
from tenure_testkit.tcp import TcpBackend, TcpServer

PREFIX = "/registry/default/"
QUICK = Limits(ping=0.3, introduction=1.0, stuck=1.0)


class TcpPlugin:
    """The toy store as a plugin."""

    @hookimpl
    def tenure_backend(self) -> BackendPlugin:
        def opened(request: OpenRequest) -> TcpBackend:
            return TcpBackend(request.hosts[0], timeout=request.timeout)

        return BackendPlugin(scheme="agent-tcp", summary="toy", open=opened, url_form=UrlForm.HOSTS, spi_version=1)


@pytest.fixture(scope="session", autouse=True)
def _scheme() -> Iterator[None]:
    discovery.register(TcpPlugin(), "agent-tcp")
    yield
    discovery.unregister("agent-tcp")


@pytest.fixture
def server() -> Iterator[TcpServer]:
    """The store's server."""
    name = f"agent-{uuid.uuid4().hex}"
    made = TcpServer(name)
    yield made
    made.close()
    tenure_memory.forget(name)


@pytest.fixture
def url(server: TcpServer) -> str:
    """The store's URL."""
    return f"agent-tcp://127.0.0.1:{server.port}/prod"


@pytest.fixture
def sock(tmp_path: Path) -> Path:
    """The agent's socket."""
    return tmp_path / "a.sock"


@pytest.fixture
def started(url: str, sock: Path) -> Iterator[Callable[..., Agent]]:
    """Starts agents, which are closed after the test."""
    made: list[Agent] = []

    def start(**changed: Any) -> Agent:
        settings: dict[str, Any] = {"socket": sock, "prefixes": (PREFIX,), "limits": QUICK, **changed}
        report = settings.pop("report", lambda _kind, _text, _facts: None)
        agent = Agent(prepare(settings.pop("url", url), timeout=2.0), AgentSettings(**settings), report)
        agent.start()
        made.append(agent)
        return agent

    yield start
    for agent in made:
        agent.close()


@pytest.fixture
def opened() -> Iterator[Callable[..., Store]]:
    """Opens stores, which are closed after the test."""
    made: list[Store] = []

    def connect(url: str, **more: Any) -> Store:
        made.append(tenure.connect(url, **{"timeout": 5.0, "wait_for_store": 30.0, **more}))
        return made[-1]

    yield connect
    for store in made:
        store.close()


@pytest.fixture
def through(sock: Path, url: str) -> str:
    """A program's URL."""
    return f"agent+unix://{sock}?store={url}"
