"""Several servers: whichever is asked, nothing acknowledged is missed, and no precondition fails on an old state."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tenure import Store, connect
from tenure.errors import Conflict, OutcomeUnknown, TenureError, Unavailable, Unsupported
from tenure.spi import CommitResult, KeyValue
from tenure_testkit.servers import until
from tenure_testkit.servers.zookeeper_ensemble import EnsembleNode, ZooKeeperEnsemble

pytestmark = pytest.mark.faults

ROUNDS = 60


@dataclass
class Servers:
    """One store on each server, the leader's first, all in one namespace that no other test uses."""

    stores: list[Store]
    namespace: str
    errors: list[BaseException] = field(default_factory=list)

    def run_beside(self, stack: contextlib.ExitStack, work: Callable[[Store], object]) -> None:
        """Do ``work`` with each store over and over, in threads, until the stack is left."""
        done = threading.Event()

        def loop(store: Store) -> None:
            try:
                while not done.is_set():
                    work(store)
            except BaseException as exc:  # noqa: BLE001 - shown by the test
                self.errors.append(exc)

        threads = [threading.Thread(target=loop, args=(store,)) for store in self.stores]

        def stop() -> None:
            done.set()
            for thread in threads:
                thread.join()
            assert not self.errors, self.errors

        stack.callback(stop)
        for thread in threads:
            thread.start()


@dataclass(frozen=True, slots=True)
class Replaced:
    """A frozen server that doesn't know of its successor, a store on it, and the revision of a write since then."""

    server: EnsembleNode
    store: Store
    revision: int


@pytest.fixture
def open_servers(zookeeper_ensemble: ZooKeeperEnsemble) -> Iterator[Callable[..., Servers]]:
    """Opens a store on each server, with these options in the URL."""
    with contextlib.ExitStack() as stack:

        def open_all(options: str = "") -> Servers:
            namespace = f"ensemble-{time.time_ns()}"
            leader = zookeeper_ensemble.leader()
            nodes = sorted(zookeeper_ensemble.nodes, key=lambda node: node is not leader)
            urls = [f"{node.url}/{namespace}?{options}" for node in nodes]
            return Servers([stack.enter_context(connect(url, timeout=20.0)) for url in urls], namespace)

        yield open_all


def busy(stack: contextlib.ExitStack, servers: Servers) -> None:
    """Writers beside the test: what a server has to apply is what it can be behind with."""
    numbers = itertools.count()
    servers.run_beside(stack, lambda store: store.put(f"busy/{next(numbers) % 50}", b"x" * 2000))


def turns(servers: Servers) -> Iterator[tuple[Store, Store]]:
    """Who writes and who comes after, for all rounds: each server after each other one."""
    pairs = itertools.cycle(itertools.permutations(servers.stores, 2))
    return itertools.islice(pairs, ROUNDS)


def test_every_read_shows_what_another_server_acknowledged(open_servers: Callable[..., Servers]) -> None:
    servers = open_servers()
    with contextlib.ExitStack() as stack:
        busy(stack, servers)
        for number, (writer, reader) in enumerate(turns(servers)):
            assert writer.capabilities.linearizable
            value = str(number).encode()
            revision = writer.put("key", value).revision
            item = reader.get("key")
            assert item is not None
            assert (item.value, item.mod_revision) == (value, revision), f"round {number}"
            writer.put(f"listed/{number}", b"")
            assert f"listed/{number}" in reader.list("listed/").keys, f"round {number}"
            writer.delete(f"listed/{number}")
            assert reader.get(f"listed/{number}") is None, f"round {number}"


@pytest.mark.parametrize("reads", ["quorum", "sync"])
def test_no_precondition_fails_on_a_state_older_than_the_call(open_servers: Callable[..., Servers], reads: str) -> None:
    """Whatever reads are preceded by: nobody else writes the keys, so each refusal would be a false one."""
    servers = open_servers(f"reads={reads}")
    with contextlib.ExitStack() as stack:
        busy(stack, servers)
        for number, (one, other) in enumerate(turns(servers)):
            key = f"folder{number % 7}/key"
            revision = one.put(key, b"1").revision
            revision = other.put_if_unchanged(key, b"2", revision=revision).revision
            one.transaction().if_exists(key).if_unchanged(key, revision=revision).commit()
            assert one.delete(key).deleted == 1, f"round {number}: deletes what another server has put"
            revision = other.put_if_absent(key, b"3").revision
            with pytest.raises(Conflict) as caught:
                one.put_if_absent(key, b"4")
            assert caught.value.revision >= revision
            assert one.delete(key).deleted == 1, f"round {number}: deletes what another server has put"
            with pytest.raises(Conflict):
                other.transaction().if_exists(key).commit()


@pytest.mark.parametrize("reads", ["quorum", "sync"])
def test_a_lease_is_known_on_every_server_at_once(open_servers: Callable[..., Servers], reads: str) -> None:
    servers = open_servers(f"reads={reads}")
    with contextlib.ExitStack() as stack:
        busy(stack, servers)
        for number, (one, other) in enumerate(turns(servers)):
            lease = one.lease(30.0)
            other.put("leased", str(number).encode(), lease=lease.id)
            item = other.get("leased")  # its own write, though it was sent by the lease's own connection
            assert item is not None
            assert (item.value, item.lease_id) == (str(number).encode(), lease.id)
            other.revoke_lease(lease.id)
            assert other.get("leased") is None


@pytest.fixture
def replaced(zookeeper_ensemble: ZooKeeperEnsemble, open_servers: Callable[..., Servers]) -> Iterator[Replaced]:
    """A leader that was frozen until the others had another one, and had acknowledged a write."""
    servers = open_servers("session_timeout=20")
    old = zookeeper_ensemble.leader()
    deposed, other = servers.stores[:2]
    deposed.put("key", b"old")
    old.pause()
    try:
        zookeeper_ensemble.leader()
        yield Replaced(old, deposed, other.put("key", b"new").revision)
    finally:
        if old.status == "paused":
            old.resume()


def while_it_believes_to_lead(replaced: Replaced, call: Callable[[Store], object]) -> object:
    """What ``call`` on the deposed leader comes to, if its first request is there when the server wakes up."""
    native = replaced.store.native
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(call, replaced.store)
        until(lambda: len(native._pending) > 0 and not native._queue, 60.0, "the request is on its way")
        replaced.server.resume()
        try:
            return answer.result(60.0)
        except TenureError as exc:
            return exc


def test_a_leader_that_was_replaced_answers_no_read(replaced: Replaced) -> None:
    """It answers a sync at once, since it still believes to lead; a write it can't have confirmed by anybody."""
    item = while_it_believes_to_lead(replaced, lambda store: store.get("key"))
    assert isinstance(item, KeyValue), item
    assert (item.value, item.mod_revision) == (b"new", replaced.revision)


def test_a_leader_that_was_replaced_refuses_no_precondition(replaced: Replaced) -> None:
    answer = while_it_believes_to_lead(
        replaced, lambda store: store.put_if_unchanged("key", b"newer", revision=replaced.revision)
    )
    # It may be told that the server is gone, but not that somebody else has changed the key.
    assert isinstance(answer, Unavailable | OutcomeUnknown | CommitResult), repr(answer)


@dataclass(frozen=True, slots=True)
class Done:
    """An operation on one key: when it was, and the revision that it wrote, or read (0: no key)."""

    started: float
    ended: float
    revision: int
    wrote: bool


def check_history(history: list[Done]) -> None:
    """Every read is of a write that had begun, and nothing sees less than what had ended before it began."""
    begun = {done.revision: done.started for done in history if done.wrote}
    assert len(begun) == sum(done.wrote for done in history), "two writes share a revision"
    for done in history:
        assert done.wrote or not done.revision or begun[done.revision] < done.ended, f"{done} is of the future"
    ends = sorted(history, key=lambda done: done.ended)
    seen = at = 0
    for done in sorted(history, key=lambda done: done.started):
        while at < len(ends) and ends[at].ended < done.started:
            seen = max(seen, ends[at].revision)
            at += 1
        assert done.revision >= seen + done.wrote, f"{done} misses revision {seen}"


def test_the_history_of_many_clients_is_linearizable(open_servers: Callable[..., Servers]) -> None:
    servers = open_servers()
    history: list[Done] = []
    lock = threading.Lock()

    def note(operation: Callable[[], int], *, wrote: bool) -> None:
        started = time.monotonic()
        with contextlib.suppress(Conflict):
            revision = operation()
            with lock:
                history.append(Done(started, time.monotonic(), revision, wrote))

    def read(store: Store) -> int:
        item = store.get("key")
        return item.mod_revision if item else 0

    def replace(store: Store) -> int:
        item = store.get("key")
        assert item is not None
        return store.put_if_unchanged("key", b"", revision=item.mod_revision).revision

    with contextlib.ExitStack() as stack:
        servers.stores[0].put("key", b"")
        history.append(Done(0.0, time.monotonic(), read(servers.stores[0]), wrote=True))
        for _ in range(2):
            servers.run_beside(stack, lambda store: note(lambda: read(store), wrote=False))
        servers.run_beside(stack, lambda store: note(lambda: store.put("key", b"").revision, wrote=True))
        servers.run_beside(stack, lambda store: note(lambda: replace(store), wrote=True))
        until(lambda: len(history) > 10 * ROUNDS, 120.0, "enough was done")
    assert sum(done.wrote for done in history) > ROUNDS
    check_history(history)


def test_the_checker_finds_a_stale_read_and_one_of_the_future() -> None:
    good = [Done(0.0, 1.0, 5, wrote=True), Done(2.0, 3.0, 6, wrote=True), Done(2.5, 2.6, 5, wrote=False)]
    check_history(good)
    for bad in (
        Done(3.5, 4.0, 5, wrote=False),
        Done(1.5, 1.9, 6, wrote=False),
        Done(1.5, 1.9, 0, wrote=False),
        Done(3.5, 4.0, 4, wrote=True),
    ):
        with pytest.raises(AssertionError):
            check_history([*good, bad])


def test_cheaper_reads_never_go_back_and_soon_see_every_write(open_servers: Callable[..., Servers]) -> None:
    """With ``reads=sync`` a leader may answer before it has applied what it committed, so it isn't declared."""
    servers = open_servers("reads=sync")
    stores = servers.stores
    seen = [-1] * 3
    assert [store.capabilities.linearizable for store in stores] == [False] * 3

    def read(reader: int) -> int:
        item = stores[reader].get("key")
        value = -1 if item is None else int(item.value)
        assert value >= seen[reader], f"server {reader} went back from {seen[reader]} to {value}"
        seen[reader] = value
        return value

    for number in range(60):
        stores[number % 3].put("key", str(number).encode())
        assert read(number % 3) == number, "a store reads its own write"
        for reader in range(3):
            until(lambda at=reader, n=number: read(at) == n, 60.0, f"server {reader} shows write {number}")
        assert len(stores[(number + 2) % 3].list("")) == 1


def test_what_is_required_is_told_before_anything_is_done(zookeeper_ensemble: ZooKeeperEnsemble) -> None:
    with connect(zookeeper_ensemble.url, require=["linearizable"]) as store:
        info = store.server_info()
        assert not any("reads=sync" in risk for risk in info.warnings)
        assert any("ZOOKEEPER-4925" in risk for risk in info.warnings) == (info.version == "3.9.3")
    url = f"{zookeeper_ensemble.url}?reads=sync"
    with pytest.raises(Unsupported, match="linearizable"):
        connect(url, require=["linearizable"])
    with connect(url) as store:
        assert any("reads=sync" in risk for risk in store.server_info().warnings)
