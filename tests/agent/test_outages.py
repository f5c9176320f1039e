"""The store goes away, the agent dies, or both: programs go on with what they knew, told how old that is."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

import tenure
from tenure import BatchType, Unavailable
from tenure.agent import ask_status
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.spi import SystemClock, WatchRequest
from tenure.watch.buffer import FeedBuffer
from tenure_testkit.waiting import PATIENCE, until

PREFIX = "/registry/default/"


def entry(number: int, service: str = "web") -> tuple[str, bytes]:
    value = {"service_name": service, "id": str(number), "host": "10.0.0.1", "host_name": "h", "port": 80, "meta": {}}
    return f"{PREFIX}{service}/{number}@10.0.0.1", json.dumps(value).encode()


def ids(registry: Registry) -> set[str]:
    found = registry.get_services().get("web")
    return set() if found is None else {each.id for each in found}


def known(store, registry: Registry) -> bool:
    return ids(registry) == {key.rpartition("/")[2].partition("@")[0] for key in store.list(PREFIX).keys}


def test_the_store_is_away_and_everybody_is_told_the_age(started, opened, server, url, through, sock):  # noqa: PLR0917 - fixtures
    agent = started()
    with opened(url) as direct:
        direct.put(*entry(1))
    outages = []
    program = opened(through)
    with Registry(program) as registry, program.watch(PREFIX, callback=lambda _: None, on_outage=outages.append):
        registry.wait_for("web", 1, PATIENCE)
        assert registry.staleness == 0.0
        server.kill()
        until(lambda: registry.staleness > 1.0, what="the registry is old")
        until(lambda: outages and isinstance(outages[-1], Unavailable), what="the watch has told it")
        assert ids(registry) == {"1"}
        # One that begins during the outage finds the same, and is as old from its first moment.
        with Registry(opened(through)) as late:
            assert ids(late) == {"1"}
            assert late.staleness >= 1.0
            assert abs(late.staleness - agent.age) < 0.5
        status = ask_status(sock)
        assert status.age is not None
        assert status.age > 1.0
        assert status.outage is not None
        assert len(program.list(PREFIX)) == 1, "lists go on, too"
        with pytest.raises(tenure.Unavailable):
            program.put("x", b"", timeout=0.5)
        server.start()
        until(lambda: registry.staleness == 0.0, what="it is up to date again")
        until(lambda: outages[-1] is None, what="the watch has told that, too")
        opened(url).put(*entry(2))
        until(lambda: ids(registry) == {"1", "2"}, what="the change has come")


def test_an_age_survives_the_agent(started, opened, server, url, through):
    """The agent dies while the store is away: the age goes on from where it was, and does not begin anew."""
    agent = started()
    with Registry(opened(through)) as registry:
        until(lambda: agent.age == 0.0 and agent.status()["source"] == "store", what="the agent follows")
        server.kill()
        until(lambda: registry.staleness > 2.0, what="the registry is old")
        before, at = registry.staleness, time.monotonic()
        agent.close()
        for _ in range(20):
            assert registry.staleness >= before + (time.monotonic() - at) - 0.3
            time.sleep(0.05)


def test_another_agent_takes_over(started, opened, url, through):
    """What changed meanwhile is told as a RESYNC with the true difference, and nothing twice."""
    agent = started()
    direct = opened(url)
    for number in (1, 2, 3):
        direct.put(*entry(number))
    program = opened(through)
    until(lambda: len(program.list(PREFIX)) == 3, what="the agent has them")
    with program.watch(PREFIX) as watch, Registry(program) as registry:
        assert [watch.next(PATIENCE).type for _ in range(2)] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        agent.close()
        direct.delete(entry(1)[0])
        direct.put(*entry(4))
        assert ids(registry) == {"1", "2", "3"}, "it goes on with what it knew"
        started()
        batch = watch.next(PATIENCE)
        assert batch.type is BatchType.RESYNC
        assert "agent was started again" in batch.reason
        assert [(event.type, event.key) for event in batch.events] == [("create", entry(4)[0]), ("delete", entry(1)[0])]
        until(lambda: ids(registry) == {"2", "3", "4"}, what="the registry has the state")
        until(lambda: registry.staleness == 0.0, what="it is up to date")


def test_a_start_without_the_store_serves_the_file(started, opened, server, url, through, sock, tmp_path):  # noqa: PLR0917 - fixtures
    file = tmp_path / "warm"
    agent = started(warm_file=file)
    direct = opened(url)
    for number in (1, 2):
        direct.put(*entry(number))
    program = opened(through)
    with Registry(program) as registry:
        registry.wait_for("web", 2, PATIENCE)
        agent.close()
        assert oct(file.stat().st_mode & 0o777) == "0o600"
        direct.put(*entry(3))
        direct.delete(entry(1)[0])
        server.kill()
        said = []
        started(warm_file=file, report=lambda kind, text, facts: said.append((kind, text)))
        assert said[0][0] == "loaded"
        status = ask_status(sock)
        assert (status.source, status.entries) == ("file", 2)
        # A program that ran before keeps what it knows: the file can't be newer.
        until(lambda: registry.staleness > 1.0, what="the registry is old")
        assert ids(registry) == {"1", "2"}
        fresh = opened(through)
        with Registry(fresh) as late, fresh.watch(PREFIX) as watch:
            assert ids(late) == {"1", "2"}
            assert late.staleness > 0
            assert [watch.next(PATIENCE).type for _ in range(2)] == [BatchType.SNAPSHOT, BatchType.SYNCED]
            server.start()
            until(lambda: ids(late) == {"2", "3"} == ids(registry), what="both have the state")
            batch = watch.next(PATIENCE)
            assert batch.type is BatchType.RESYNC
            changed = {(event.type.value, event.key) for event in batch.events}
            assert changed == {("create", entry(3)[0]), ("delete", entry(1)[0])}, "the one that stayed is no change"
            until(lambda: late.staleness == 0.0 == registry.staleness, what="both are up to date")


def test_a_watch_that_knows_more_gets_nothing_of_the_file(started, opened, server, url, through, tmp_path):  # noqa: PLR0917 - fixtures
    file = tmp_path / "warm"
    agent = started(warm_file=file)
    direct = opened(url)
    direct.put(*entry(1))
    program = opened(through)
    until(lambda: len(program.list(PREFIX)) == 1, what="the agent has it")
    agent._save()
    kept = file.read_bytes()
    with Registry(program) as registry:
        direct.put(*entry(2))
        until(lambda: ids(registry) == {"1", "2"}, what="the registry has both")
        agent.close()
        file.write_bytes(kept)
        server.kill()
        started(warm_file=file)
        until(lambda: isinstance(registry._following.outage, Unavailable), what="the registry asked the agent")
        until(lambda: "file" in str(registry._following.outage), what="the agent said why not")
        assert ids(registry) == {"1", "2"}
        # A store that can't resume begins with a snapshot again: the request says that there was one before.
        again = WatchRequest(prefix=PREFIX, begun=True)
        with pytest.raises(Unavailable, match="no more than its file"):
            program._backend.watch(again, sink=FeedBuffer(SystemClock()), timeout=PATIENCE)


@pytest.mark.parametrize("harm", ["cut", "other", "writable"])
def test_a_file_that_cannot_be_trusted_is_not_served(started, opened, server, url, through, tmp_path, harm):  # noqa: PLR0917 - fixtures
    file = tmp_path / "warm"
    agent = started(warm_file=file)
    opened(url).put(*entry(1))
    until(lambda: agent.entries == 1, what="the agent has it")
    agent.close()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    elif harm == "writable":
        file.chmod(0o666)
    server.kill()
    said = []
    prefixes = ("/registry/other/",) if harm == "other" else (PREFIX,)
    started(warm_file=file, prefixes=prefixes, report=lambda kind, text, facts: said.append(kind))
    assert said[0] == "no-file"
    with pytest.raises(Unavailable, match="has not reached its store"):
        tenure.connect(through, timeout=2.0)


def test_an_agent_that_starts_before_its_store(started, opened, server, through, sock):
    server.kill()
    started()
    assert ask_status(sock).source == "nothing"
    with pytest.raises(Unavailable, match="has not reached its store"):
        tenure.connect(through, timeout=1.0)
    server.start()
    with Registry(opened(through), instance=Instance("web", id="1", port=1)) as registry:
        assert ids(registry) == {"1"}


def test_an_instance_registers_when_the_store_is_back(started, opened, server, url, through, tmp_path):  # noqa: PLR0917 - fixtures
    """With a warm file a registry may start without the store; with an agent it then has the agent's state."""
    agent = started()
    opened(url).put(*entry(1))
    until(lambda: agent.entries == 1, what="the agent has it")
    program = opened(through, timeout=1.0)
    server.kill()
    until(lambda: agent.age > 0, what="the agent knows that the store is away")
    config = RegistryConfig(warm_file=tmp_path / "own", retry_first=0.2, retry_longest=0.5)
    with pytest.raises(Unavailable):
        Registry(program, replace(config, warm_file=None), Instance("web", id="2", port=1)).start()
    with Registry(program, config, Instance("web", id="2", port=1)) as registry:
        assert ids(registry) == {"1"}
        server.start()
        until(lambda: ids(registry) == {"1", "2"}, what="it is registered")


def test_the_history_is_replaced(started, opened, server, url, through):
    agent = started()
    direct = opened(url)
    for number in (1, 2):
        direct.put(*entry(number))
    program = opened(through)
    until(lambda: agent.entries == 2, what="the agent has them")
    with program.watch(PREFIX) as watch, Registry(program) as registry:
        assert [watch.next(PATIENCE).type for _ in range(2)] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        server.memory.lose_data()
        fresh = opened(url)
        fresh.put(*entry(9))
        until(lambda: ids(registry) == {"9"}, what="the registry has the new state")
        batch = watch.next(PATIENCE)
        assert batch.type is BatchType.RESYNC
        assert known(fresh, registry)
