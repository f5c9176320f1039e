"""Data that were lost or replaced: what a store that was open all the while notices, and what no client can."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import tenure
from tenure import BatchType, Conflict
from tenure.errors import HistoryReplaced
from tenure.spi import Backend, Put, RevisionEquals, Snapshot, Transaction, WatchRequest
from tenure_consul import prefix_poller
from tenure_consul.revisions import Revisions
from tenure_testkit.servers.consul import ConsulServer
from tenure_testkit.waiting import until

pytestmark = pytest.mark.faults

T = 20.0
KEYS = 40


def write(server: ConsulServer, key: str, value: bytes) -> int:
    """Put a key as another client, and return its revision."""
    assert server.ask("PUT", f"/v1/kv/leasehold/kv/{key}", value)
    return revision(server, key)


def revision(server: ConsulServer, key: str) -> int:
    return int(server.ask("GET", f"/v1/kv/leasehold/kv/{key}?consistent")[0]["ModifyIndex"])


def repeat_one(server: ConsulServer, revisions: dict[str, int], value: bytes) -> str:
    """Put keys of a new history until one of them has its revision of the old one again. Returns that key."""
    wanted = {number: key for key, number in revisions.items()}
    last = write(server, "filler", b"")
    while last < max(wanted):
        key = wanted.get(last + 1, "filler")
        last = write(server, key, value)
        if wanted.get(last) == key:
            return key
    raise AssertionError("other entries of the log took all the revisions")


class Agent:
    """Stands for a client agent: its connections stay while the servers behind it become others."""

    def __init__(self, target: ConsulServer) -> None:
        agent = self
        self.target = target

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server = http.client.HTTPConnection("127.0.0.1", agent.target.port, timeout=T)
                with contextlib.closing(server):
                    server.request(self.command, self.path, body or None)
                    answer = server.getresponse()
                    content = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.startswith("X-"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_DELETE = forward  # noqa: N815 - the names that http.server looks for

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"consul://127.0.0.1:{self._server.server_port}?wait=1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(T)


@pytest.fixture
def second() -> Iterator[ConsulServer]:
    with ConsulServer() as server:
        yield server


@pytest.fixture
def agent(consul_node: ConsulServer) -> Iterator[Agent]:
    standing = Agent(consul_node)
    yield standing
    standing.close()


def lose_everything(server: ConsulServer) -> None:
    server.kill()
    server.wipe()
    server.start()


def test_a_revision_of_lost_data_is_refused(consul_node: ConsulServer):
    """The key has it again, for a put of the new history: the store has read neither since."""
    with tenure.connect(consul_node.url, timeout=T) as store:
        revisions = {f"key{number}": store.put(f"key{number}", b"old").revision for number in range(KEYS)}
        lose_everything(consul_node)
        key = repeat_one(consul_node, revisions, b"new")
        with pytest.raises(Conflict, match="lost or replaced"):
            store.put_if_unchanged(key, b"mine", revision=revisions[key])
        assert (item := store.get(key)) is not None
        assert (item.value, item.mod_revision) == (b"new", revisions[key])
        # Once the key was read in the new history, the same number counts again.
        store.put_if_unchanged(key, b"mine", revision=revisions[key])


def test_a_read_of_the_new_history_refuses_the_others(consul_node: ConsulServer):
    """A key that nobody has written again is refused too, as soon as another one has shown what happened."""
    with tenure.connect(consul_node.url, timeout=T) as store:
        revisions = {f"key{number}": store.put(f"key{number}", b"old").revision for number in range(KEYS)}
        lose_everything(consul_node)
        key = repeat_one(consul_node, revisions, b"new")
        other = next(name for name in revisions if name != key)
        assert store.get(key) is not None
        with pytest.raises(Conflict, match="lost or replaced"):
            store.put_if_unchanged(other, b"mine", revision=revisions[other])


def test_a_revision_that_was_not_read_here_is_a_number(consul_node: ConsulServer):
    """The limit: a store that has not read the key can't know that the revision is of lost data."""
    with tenure.connect(consul_node.url, timeout=T) as store:
        revisions = {f"key{number}": store.put(f"key{number}", b"old").revision for number in range(KEYS)}
    lose_everything(consul_node)
    key = repeat_one(consul_node, revisions, b"new")
    with tenure.connect(consul_node.url, timeout=T) as another:
        another.put_if_unchanged(key, b"mine", revision=revisions[key])


def test_a_new_connection_alone_refuses_nothing(middle, consul_node: ConsulServer):
    with tenure.connect(f"consul://127.0.0.1:{middle.port}", timeout=T) as store:
        first, second_key = store.put("a", b"1").revision, store.put("b", b"1").revision
        middle.cut()
        assert store.put_if_unchanged("a", b"2", revision=first).revision > first
        consul_node.restart()
        store.put_if_unchanged("b", b"2", revision=second_key)


def test_all_watches_are_told_the_truth(consul_node: ConsulServer):
    """Two watches of one store, on prefixes of which one is quiet; nobody takes batches while the data are lost."""
    with tenure.connect(consul_node.url, timeout=T) as store:
        revisions = {f"key{number}": store.put(f"key{number}", b"old").revision for number in range(KEYS)}
        store.put("quiet/a", b"old")
        watches = [store.watch("key"), store.watch("quiet/"), store.watch("key0", exact=True)]
        known: list[dict[str, bytes]] = [{}, {}, {}]
        kinds: set[BatchType] = set()

        def told(expected: Callable[[int], dict[str, bytes]]) -> bool:
            for number, watch in enumerate(watches):
                batch = watch.next(0.05)
                for event in batch.events if batch else ():
                    kinds.add(batch.type)
                    known[number].pop(event.key, None)
                    if event.item is not None:
                        known[number][event.key] = event.item.value
            return known == [expected(number) for number in range(len(watches))]

        old = dict.fromkeys(revisions, b"old")
        until(lambda: told(lambda n: [old, {"quiet/a": b"old"}, {"key0": b"old"}][n]), T, "the watches have begun")
        lose_everything(consul_node)
        repeat_one(consul_node, revisions, b"new")
        write(consul_node, "key0", b"new")
        write(consul_node, "quiet/b", b"new")
        present = {item.key: item.value for item in store.list("key").items}
        assert set(present.values()) == {b"new"}
        until(lambda: told(lambda n: [present, {"quiet/b": b"new"}, {"key0": b"new"}][n]), 60.0, "all tell the truth")
        assert BatchType.RESYNC in kinds
        for watch in watches:
            watch.close()


@pytest.fixture(params=[False, True], ids=["few keys", "names are polled"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a poller takes its prefix for one of many keys."""
    if request.param:
        monkeypatch.setattr(prefix_poller, "_MANY", 0)
    return bool(request.param)


def test_a_feed_whose_agent_stays(
    agent: Agent, second: ConsulServer, opened: Callable[..., Backend], recorder, many: bool
):
    """The servers behind it are others now, and the prefix has the index that it had."""
    backend = opened(agent.url)
    put = [backend.commit(Transaction((), (Put(f"key{n}", b"old"),)), timeout=T).revision for n in range(KEYS)]
    revisions = {f"key{number}": revision for number, revision in enumerate(put)}
    repeated = repeat_one(second, revisions, b"new")
    sink = recorder()
    # Only this key is below the prefix, so that nothing but its Flags tells the histories apart.
    feed = backend.watch(WatchRequest(prefix=repeated, exact=not many), sink=sink, timeout=T)
    sink.wait(lambda r: r.items)
    before = backend.history
    agent.target = second
    (_, news) = sink.items_when(lambda items: len(items) > 1)[:2]
    assert isinstance(news, Snapshot)
    (item,) = [item for item in news.items if item.key == repeated]
    assert (item.value, item.mod_revision) == (b"new", revisions[repeated])
    assert backend.history != before
    feed.close()


def test_an_agent_that_stays_hides_that_a_revision_is_of_lost_data(
    agent: Agent, second: ConsulServer, opened: Callable[..., Backend]
):
    """The limit: the connection lasts, so the revision isn't verified. A read of the key, or a watch, would tell."""
    backend = opened(agent.url)
    put = [backend.commit(Transaction((), (Put(f"key{n}", b"old"),)), timeout=T).revision for n in range(KEYS)]
    revisions = {f"key{number}": revision for number, revision in enumerate(put)}
    key = repeat_one(second, revisions, b"new")
    agent.target = second
    backend.commit(Transaction((RevisionEquals(key, revisions[key]),), (Put(key, b"mine"),)), timeout=T)
    item = backend.get(key, timeout=T).item
    assert item is not None
    assert item.value == b"mine"


def test_a_backend_refuses_before_it_sends(consul_node: ConsulServer, opened: Callable[..., Backend]):
    backend = opened(consul_node.url)
    put = [backend.commit(Transaction((), (Put(f"key{n}", b"old"),)), timeout=T).revision for n in range(KEYS)]
    revisions = {f"key{number}": revision for number, revision in enumerate(put)}
    before = backend.history
    lose_everything(consul_node)
    key = repeat_one(consul_node, revisions, b"new")
    with pytest.raises(HistoryReplaced):
        backend.commit(Transaction((RevisionEquals(key, revisions[key]),), (Put(key, b"mine"),)), timeout=T)
    assert backend.history != before


def test_a_backup_restored_into_running_servers_repeats_no_revision(
    consul_node: ConsulServer, opened: Callable[..., Backend]
):
    backend = opened(consul_node.url)

    def put(key: str, value: bytes) -> int:
        return backend.commit(Transaction((), (Put(key, value),)), timeout=T).revision

    put("key", b"saved")
    consul_node.exec("consul", "snapshot", "save", "/tmp/snapshot")
    lost = [put("key", b"lost") for _ in range(KEYS)]
    before = backend.history
    consul_node.exec("consul", "snapshot", "restore", "/tmp/snapshot")
    until(lambda: backend.get("missing", timeout=T).revision < lost[-1], T, "the index went back")
    assert backend.history != before
    assert put("key", b"new") > lost[-1]


def test_a_read_is_never_told_with_an_older_revision_than_was_known_before_it():
    """Consul tells of a read when what was read last changed, which may be long ago."""
    revisions = Revisions(following=True)
    assert revisions.of_write(9, before=3) == 9
    assert revisions.of_read(5, before=9) == 9
    assert revisions.of_read(12, before=9) == 12
    assert revisions.known == 12
