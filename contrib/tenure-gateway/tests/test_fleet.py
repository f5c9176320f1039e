"""Twenty instances in processes behind nginx, under load: a rolling restart, and a store that is away for a minute."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import dns.message
import dns.query
import pytest
from processes import Process
from programs import Programs
from proxies import Proxy
from rolling import Load
from tenure_gateway.options import DEFAULT_GRACE

import tenure
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.faults]

COUNT = 20
BATCH = 5
DRAIN_WAIT = 5.0
"""The interval of a second, and what the page demands beside it, with a second to spare on a busy machine."""
AWAY = 60.0
INSTANCE = Path(__file__).parent / "support" / "instance.py"
TESTKIT = Path(__file__).parents[3] / "tests" / "support"


class InstanceProcess:
    """One instance, from its start to its registration."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(INSTANCE), url, str(DRAIN_WAIT)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": f"{INSTANCE.parent}:{TESTKIT}"},
        )
        self._port = 0

    @property
    def port(self) -> int:
        """Its port, once it is registered."""
        if not self._port:
            assert self._process.stdout is not None
            self._port = int(self._process.stdout.readline())
        return self._port

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        assert self._process.wait(120) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass(frozen=True, slots=True)
class Answers:
    """`tenure serve`, as programs see it."""

    http: str
    dns: int

    def prometheus(self) -> set[int]:
        """The ports of the targets that are ready."""
        with urllib.request.urlopen(f"http://{self.http}/prometheus?service=web&ready=1", timeout=60) as answer:
            return {int(group["targets"][0].rpartition(":")[2]) for group in json.load(answer)}

    def services(self) -> set[int]:
        """The ports of the SRV records."""
        query = dns.message.make_query("_web._tcp.tenure", "SRV", use_edns=0, payload=1232)
        answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", port=self.dns, timeout=60)
        return {record.port for rrset in answer.answer for record in rrset}


class Fleet:
    """Redis, nginx, both commands and the instances."""

    def __init__(self, programs: Programs, folder: Path, stack: ExitStack, *, persistent: bool = True) -> None:
        self._stack = stack
        self.server = stack.enter_context(RedisServer(persistent=persistent))
        self.url = self.server.url
        self._store = stack.enter_context(tenure.connect(self.url))
        self.proxy = Proxy("nginx", programs, folder, self._store)
        self.instances = self.start(COUNT)
        self.proxy.start(self.url)
        stack.callback(self.proxy.stop)
        self.render = stack.enter_context(Process(self.url, *self.proxy.arguments, environment=programs.environment))
        self.serve = stack.enter_context(
            Process(self.url, "serve", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0", "--ttl", "1")
        )
        self.render.wait_for("started")
        listening = self.serve.wait_for("listening", 2)
        self.serve.wait_for("started")
        http = next(event["http"] for event in listening if "http" in event)
        port = next(event["dns"] for event in listening if "dns" in event).rpartition(":")[2]
        self.answers = Answers(http, int(port))

    def start(self, count: int) -> list[InstanceProcess]:
        started = [self._stack.enter_context(InstanceProcess(self.url)) for _ in range(count)]
        for each in started:
            assert each.port
        return started

    def restore_keys(self) -> None:
        """Write the keys of the template again, as an operator does whose store has lost everything."""
        self.proxy.write_keys(self._store)

    def ports(self) -> set[int]:
        return {each.port for each in self.instances}

    def seen_everywhere(self) -> bool:
        ports = self.ports()
        content = self.proxy.out.read_text()
        rendered = {port for port in ports if f"127.0.0.1:{port} " in content} == ports
        lines = sum(line.strip().startswith("server 127") for line in content.splitlines())
        return rendered and lines == len(ports) and self.answers.prometheus() == self.answers.services() == ports


@pytest.fixture
def fleet(programs: Programs, tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(programs, tmp_path, stack)


@pytest.fixture
def forgetful_fleet(programs: Programs, tmp_path: Path) -> Iterator[Fleet]:
    """Its store is empty after a restart."""
    with ExitStack() as stack:
        yield Fleet(programs, tmp_path, stack, persistent=False)


def test_a_rolling_restart_loses_no_request_and_all_answers_follow(fleet: Fleet) -> None:
    with Load(fleet.proxy.port, threads=4) as load:
        load.wait_answered(*fleet.ports())
        seen = fleet.ports()
        for _ in range(COUNT // BATCH):
            new = fleet.start(BATCH)
            load.wait_answered(*(each.port for each in new))
            old, fleet.instances = fleet.instances[:BATCH], [*fleet.instances[BATCH:], *new]
            seen |= fleet.ports()
            for each in old:
                each.terminate()
            for each in old:
                each.wait()
        until(fleet.seen_everywhere, what="all answers have the new instances alone")
    print(f"{sum(load.answered.values())} requests, {len(load.failures)} failed")
    assert load.failures == []
    assert set(load.answered) == seen
    assert len(seen) == 2 * COUNT
    assert {event["type"] for event in fleet.render.events} <= {"started", "rendered", "executed"}


def test_a_store_that_is_away_changes_nothing_and_that_is_said(fleet: Fleet) -> None:
    lose_the_store(fleet, AWAY)


def test_a_store_that_comes_back_empty_changes_nothing_either(forgetful_fleet: Fleet) -> None:
    lose_the_store(forgetful_fleet, AWAY)


def lose_the_store(fleet: Fleet, seconds: float) -> None:
    """Take the store away for some time. All that others see stays, and no request fails, then and afterwards."""
    until(fleet.seen_everywhere, what="all answers have all instances")
    content, node = fleet.proxy.out.read_bytes(), fleet.proxy.out.stat().st_ino
    with Load(fleet.proxy.port, threads=4) as load:
        fleet.server.kill()
        ends = time.monotonic() + seconds
        fleet.render.wait_for("outage")
        fleet.serve.wait_for("outage")
        while time.monotonic() < ends:
            assert fleet.seen_everywhere()
            time.sleep(1)
        fleet.server.start()
        fleet.restore_keys()
        fleet.render.wait_for("reconnected")
        fleet.serve.wait_for("reconnected")
        ends = time.monotonic() + DEFAULT_GRACE + 5
        while time.monotonic() < ends:
            assert fleet.seen_everywhere()
            time.sleep(1)
    print(f"{sum(load.answered.values())} requests, {len(load.failures)} failed")
    assert load.failures == []
    assert (fleet.proxy.out.read_bytes(), fleet.proxy.out.stat().st_ino) == (content, node)
    for process in (fleet.render, fleet.serve):
        assert process.end() == 0
        # Not at every time: all instances may be there again before this watch is.
        print([event["message"] for event in process.events if event["type"] == "kept"])
