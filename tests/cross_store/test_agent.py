"""``tenure agent`` in front of real stores: killed while programs watch, and without its store for a while."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tenure
from tenure import Store
from tenure.agent import ask_status
from tenure.errors import TenureError
from tenure.registry import Registry
from tenure_testkit.servers.container import ServerContainer
from tenure_testkit.waiting import PATIENCE, until

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from processes import Command

PREFIX = "/registry/default/"
PROGRAMS = 4
KILLS = 3
CHANGES_BETWEEN = 30


def entry(number: int) -> tuple[str, bytes]:
    value = {"service_name": "web", "id": str(number), "host": "10.0.0.1", "host_name": "h", "port": 80, "meta": {}}
    return f"{PREFIX}web/{number}@10.0.0.1", json.dumps(value | {"meta": {"at": str(time.monotonic())}}).encode()


@pytest.fixture(params=["etcd", "redis"])
def agent_node(request: pytest.FixtureRequest) -> Iterator[ServerContainer]:
    """A server of the test's own."""
    server: ServerContainer = request.getfixturevalue(f"{request.param}_node")
    yield server
    if server.status == "paused":
        server.resume()


@pytest.fixture
def agent_of(tmp_path: Path) -> Iterator[Callable[[str], Command]]:
    """Starts ``tenure agent`` at this URL, as a process."""
    running: list[Command] = []

    def start(url: str) -> Command:
        command = Command("agent", "--json", "--socket", f"{tmp_path}/a.sock", url=url)
        running.append(command.__enter__())
        command.err.until(lambda line: json.loads(line)["type"] == "listening")
        return command

    yield start
    for command in running:
        command.__exit__()


class Seen:
    """What one program's watch says is there, from its batches alone, and how often it was told of a gap."""

    def __init__(self, store: Store) -> None:
        self.state: dict[str, bytes] = {}
        self.gaps = 0
        self.problems: list[str] = []
        self.watch = store.watch(PREFIX, callback=self.take)

    def take(self, batch: tenure.Batch) -> None:
        self.gaps += batch.type is tenure.BatchType.RESYNC
        for event in batch.events:
            if event.item is not None:
                if (event.type is tenure.EventType.CREATE) == (event.key in self.state):
                    self.problems.append(f"{event.type} of {event.key} at {event.revision}")
                self.state[event.key] = event.item.value
            elif self.state.pop(event.key, None) is None:
                self.problems.append(f"delete of {event.key}, which wasn't there")


@pytest.mark.slow
def test_killed_while_programs_watch(
    agent_node: ServerContainer,
    agent_of: Callable[[str], Command],
    opened: Callable[..., Store],
    tmp_path: Path,
) -> None:
    url = agent_node.url
    agent = agent_of(url)
    direct = opened(url, timeout=PATIENCE)
    through = f"agent+unix://{tmp_path}/a.sock?store={url}&wait_for_store={PATIENCE:g}"
    programs = [opened(through, timeout=PATIENCE) for _ in range(PROGRAMS)]
    seen = [Seen(program) for program in programs]
    registries = [Registry(program).start() for program in programs]
    ended = threading.Event()
    written: dict[str, bytes] = {}
    count = 0

    def write() -> None:
        nonlocal count
        while not ended.is_set():
            key, value = entry(count % 20)
            if count % 7 == 6:
                direct.delete(key)
                written.pop(key, None)
            else:
                direct.put(key, value)
                written[key] = value
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(KILLS):
            at = count
            until(lambda at=at: count >= at + CHANGES_BETWEEN, what="changes come")
            agent.signal(signal.SIGKILL)
            assert agent.wait() == -signal.SIGKILL
            at = count
            until(lambda at=at: count >= at + CHANGES_BETWEEN, what="changes come without the agent")
            agent = agent_of(url)
    finally:
        ended.set()
        writer.join(PATIENCE)
    stored = {item.key: item.value for item in direct.list(PREFIX)}
    assert stored == written
    for each in seen:
        until(lambda each=each: each.state == stored, what="the program has the state of the store")
        assert each.gaps > 0
        assert each.problems == []
    for registry in registries:
        until(
            lambda r=registry: {i.id for i in r.get_services()["web"]} == {_id(key) for key in stored},
            what="a registry",
        )
        until(lambda r=registry: r.staleness == 0.0, what="it is up to date")
        registry.close()


def _id(key: str) -> str:
    return key.rpartition("/")[2].partition("@")[0]


@pytest.mark.slow
def test_a_frozen_store(
    agent_node: ServerContainer,
    agent_of: Callable[[str], Command],
    opened: Callable[..., Store],
    tmp_path: Path,
) -> None:
    url = agent_node.url
    agent = agent_of(url)
    direct = opened(url, timeout=PATIENCE)
    direct.put(*entry(1))
    sock = tmp_path / "a.sock"
    program = opened(f"agent+unix://{sock}?store={url}&wait_for_store={PATIENCE:g}", timeout=PATIENCE)
    with Registry(program) as registry:
        registry.wait_for("web", 1, PATIENCE)
        detection = program.capabilities.max_watch_failure_detection
        began = time.monotonic()
        agent_node.pause()
        until(lambda: registry.staleness > 0, what="the program is told that it is old")
        assert time.monotonic() - began <= detection + PATIENCE / 2
        until(lambda: registry.staleness > 1.0, what="the age grows")
        assert len(registry.get_service("web")) == len(program.list(PREFIX)) == 1
        status = ask_status(sock)
        assert status.age is not None
        assert abs(status.age - registry.staleness) < 2.0
        with pytest.raises(TenureError):
            program.put("x", b"", timeout=0.5)
        agent_node.resume()
        until(lambda: registry.staleness == 0.0, what="it is up to date again")
        direct.put(*entry(2))
        registry.wait_for("web", 2, PATIENCE)
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 128 + signal.SIGTERM
    assert not sock.exists()
