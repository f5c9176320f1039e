"""Transactions, lists and folders on a real server: races, lives of keys, nodes of others, many keys."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tenure import Store, connect
from tenure.errors import Conflict
from tenure.plugin_kit import Deadline
from tenure.spi import Delete, KeyValue, Put, RevisionEquals, Transaction
from tenure_testkit.servers import until
from tenure_testkit.servers.namespace import own_namespace
from tenure_testkit.servers.zookeeper import ZooKeeperServer
from tenure_zookeeper import node_state, reads
from tenure_zookeeper.backend import ZooKeeperBackend
from tenure_zookeeper.connection import Connection, Fresh


@pytest.fixture
def store(zookeeper_own_url: str) -> Iterator[Store]:
    with connect(zookeeper_own_url) as opened:
        yield opened


def test_many_may_create_in_one_new_folder(store: Store, zookeeper_own_url: str) -> None:
    start = threading.Barrier(8)

    def create(number: int) -> int:
        with connect(zookeeper_own_url) as mine:
            start.wait(10.0)
            return len({mine.put_if_absent(f"new/folder/{number}-{turn}", b"").revision for turn in range(20)})

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create, range(8))) == [20] * 8
    assert len(store.list("new/")) == 160


def test_plugins_own_guards_make_no_conflict(store: Store, zookeeper_own_url: str) -> None:
    """Puts without guards race with deletes and with leases that take the key away, and all succeed."""
    with connect(zookeeper_own_url) as other:
        lease = other.lease(20.0)
        done = threading.Event()

        def disturb() -> None:
            while not done.is_set():
                other.put("key", b"theirs", lease=lease)
                other.delete("key")
                other.put("key", b"theirs")

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            revisions = [store.put("key", b"mine").revision for _ in range(60)]
            deleted = [store.delete("key").revision for _ in range(20)]
        finally:
            done.set()
            thread.join()
        assert revisions == sorted(set(revisions))
        assert deleted == sorted(deleted)


def test_a_key_made_again_is_another_key(
    open_zookeeper: Callable[[str], ZooKeeperBackend],
    zookeeper_own_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between the plugin's read and its write the key is deleted and made again, with the same node version."""
    backend, other = open_zookeeper(zookeeper_own_url), open_zookeeper(zookeeper_own_url)
    revision = backend.commit(Transaction((), (Put("aba/key", b"1"),)), timeout=5).revision
    read = node_state.read
    interfered = []

    def slow_read(*args: object, **options: object) -> object:
        state = read(*args, **options)  # type: ignore[arg-type]  # passed through
        if not interfered:
            interfered.append(1)
            for operation in (Delete("aba/key"), Put("aba/key", b"1")):
                monkeypatch.setattr(node_state, "read", read)
                other.commit(Transaction((), (operation,)), timeout=5)
        return state

    monkeypatch.setattr(node_state, "read", slow_read)
    with pytest.raises(Conflict, match="was last put at revision"):
        backend.commit(Transaction((RevisionEquals("aba/key", revision),), (Put("aba/key", b"2"),)), timeout=5)
    assert interfered
    item = backend.get("aba/key", timeout=5).item
    assert item is not None
    assert item.value == b"1"


@pytest.mark.parametrize("was_there", [False, True])
def test_a_put_that_another_put_overtakes_leaves_one_node(
    store: Store, zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    """Between the plugin's read and its write the key is made anew, with a lease where the late put has none."""
    with connect(zookeeper_own_url) as other:
        lease = other.lease(60.0)
        other.put("race/folder", b"is there")
        if was_there:
            other.put("race/key", b"before")
        read, theirs = node_state.read, []

        def slow_read(*args: object, **options: object) -> object:
            state = read(*args, **options)  # type: ignore[arg-type]  # passed through
            monkeypatch.setattr(node_state, "read", read)
            if was_there:
                other.delete("race/key")
            theirs.append(other.put("race/key", b"theirs", lease=None if was_there else lease).revision)
            return state

        monkeypatch.setattr(node_state, "read", slow_read)
        revision = store.put("race/key", b"mine", lease=store.lease(60.0) if was_there else None).revision
        item = store.get("race/key")
        assert item is not None
        assert (item.value, item.create_revision, item.mod_revision) == (b"mine", theirs[0], revision)
        assert store.delete("race/key").deleted
        assert store.get("race/key") is None


def test_a_key_made_again_is_another_key_also_to_those_who_knew_it(store: Store, zookeeper_own_url: str) -> None:
    """The fast way of compare-and-set, by what was seen before, notices other lives and other writers."""
    with connect(zookeeper_own_url) as other:
        revision = store.put("aba/key", b"1").revision
        for number in range(5):  # each after the first without a read
            revision = store.put_if_unchanged("aba/key", str(number).encode(), revision=revision).revision
        store.get("aba/key")
        other.delete("aba/key")
        for _ in range(6):
            other.put("aba/key", b"theirs")  # up to the same version
        for stale in (revision, revision - 1):
            with pytest.raises(Conflict):
                store.put_if_unchanged("aba/key", b"mine", revision=stale)
        item = store.get("aba/key")
        assert item is not None
        assert item.value == b"theirs"
        revision = store.put_if_unchanged("aba/key", b"mine", revision=item.mod_revision).revision
        other.put("aba/key", b"theirs")
        with pytest.raises(Conflict):
            store.put_if_unchanged("aba/key", b"mine", revision=revision)


def test_who_put_a_key_need_not_read_it_to_replace_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first compare-and-set may have to read; what it learns is enough for those after it."""
    revision = store.put("known/key", b"").revision
    revision = store.put_if_unchanged("known/key", b"0", revision=revision).revision
    connection = store._backend._connection  # type: ignore[attr-defined]  # of this plugin
    sent: list[object] = []
    send = connection.send

    def counting(requests: list[object], *, action: str) -> object:
        sent.extend(requests)
        return send(requests, action=action)

    monkeypatch.setattr(connection, "send", counting)
    for number in range(3):
        revision = store.put_if_unchanged("known/key", str(number).encode(), revision=revision).revision
    assert len(sent) == 3


def test_revisions_are_those_of_the_nodes(store: Store) -> None:
    """What a commit answers is what the keys show, whichever way it was written."""
    store.put("a", b"")
    store.put("b", b"")
    with store.lease(5.0) as lease:
        ways = [
            store.transaction().put("a", b"1").put("c", b"1"),
            store.transaction().put("a", b"2").delete("b"),
            store.transaction().put("a", b"3", lease=lease).put("c", b"3"),
            store.transaction().if_exists("a").put("a", b"4"),
        ]
        for way in ways:
            revision = way.commit().revision
            item = store.get("a")
            assert item is not None
            assert item.mod_revision == revision
        only_delete = store.delete("c").revision
        assert only_delete > revision
        # How far it is from there isn't known: other tests' sessions that end take revisions, too.
        made = store.put("d", b"").revision
        item = store.get("d")
        assert item is not None
        assert item.mod_revision == item.create_revision == made
        assert made > only_delete


def test_deep_and_long_keys(store: Store) -> None:
    """A list asks once per level of the tree, a thousand times here: it is given the time for that."""
    deep = ["/" * 1024, "a/" * 512, "/".join("\x01" * 512), "\U0001f600" * 256, "\x7f" * 1024]
    for key in deep:
        store.put(key, key.encode())
    assert store.list("", timeout=60).keys == tuple(sorted(deep, key=str.encode))
    with store.lease(5.0) as lease:
        for key in deep:
            store.put(key, b"", lease=lease)
    assert store.list("", timeout=60).keys == ()


def test_nodes_of_others_are_left_alone(zookeeper_node: ZooKeeperServer) -> None:
    native = zookeeper_node.client()
    try:
        with connect(zookeeper_node.url) as root, root.watch("") as watch:
            watch.next(5.0)
            watch.next(5.0)
            native.create("/kafka/brokers/ids", b"x", makepath=True)
            native.create("/kafka/@%41", b"x")
            root.put("kafka/mine", b"1")
            assert root.list("").keys == ("kafka/mine",)
            batch = watch.next(5.0)
            assert batch is not None
            assert {event.key for event in batch.events} == {"kafka/mine"}
            assert root.delete_prefix("", allow_empty_prefix=True).deleted == 1
            assert native.exists("/kafka/brokers/ids")
            assert native.exists("/zookeeper/quota")
    finally:
        native.stop()
        native.close()


def test_empty_folders_go_away(zookeeper_node: ZooKeeperServer) -> None:
    native = zookeeper_node.client()
    try:
        with connect(f"{zookeeper_node.url}/space") as store:
            for number in range(20):
                store.put(f"deep/down/{number}/key", b"")
            store.delete_prefix("deep/")
            until(lambda: not native.exists("/space/deep"), 60.0, "the server removed the empty folders", interval=0.2)
            store.put("deep/down/again", b"")
            assert store.list("").keys == ("deep/down/again",)
    finally:
        native.stop()
        native.close()


def test_a_key_that_moves_once_its_name_was_read_is_listed(
    store: Store, zookeeper_own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(zookeeper_own_url) as other:
        other.put("moves/key", b"1")
        lease = other.lease(60.0)
        name_keys = reads._key_names

        def interfere(*args: object, **options: object) -> object:
            monkeypatch.setattr(reads, "_key_names", name_keys)
            named = name_keys(*args, **options)  # type: ignore[arg-type]  # passed through
            other.put("moves/key", b"2", lease=lease)
            return named

        monkeypatch.setattr(reads, "_key_names", interfere)
        assert [(item.key, item.value) for item in store.list("moves/").items] == [("moves/key", b"2")]


def test_keys_that_move_are_not_missed(store: Store, zookeeper_own_url: str) -> None:
    """A key that changes its lease all the time exists all the time, for get, list and preconditions alike."""
    keys = [f"k{number}" for number in range(6)]
    with connect(zookeeper_own_url) as other:
        lease = other.lease(20.0)
        for key in keys:
            other.put(key, b"")
        done = threading.Event()

        def move() -> None:
            turn = 0
            while not done.is_set():
                turn += 1
                transaction = other.transaction()
                for key in keys:
                    transaction.put(key, b"", lease=lease if turn % 2 else None)
                transaction.commit()

        thread = threading.Thread(target=move)
        thread.start()
        try:
            for _ in range(15):
                assert store.list("").keys == tuple(keys)
                item: KeyValue | None = store.get("k3")
                assert item is not None
                check = store.transaction()
                for key in keys:
                    check.if_exists(key)
                check.commit()
        finally:
            done.set()
            thread.join()


@pytest.mark.parametrize(("servers", "reads_of_all"), [("zookeeper_node", 2), ("zookeeper_ensemble", 3)])
def test_others_who_keep_changing_the_keys_hold_up_no_check(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, servers: str, reads_of_all: int
) -> None:
    """After each read of several keys one of them is put again: no two states are the same, and still it is decided."""
    url = own_namespace(request.getfixturevalue(servers).url)
    keys = [f"k{number}" for number in range(6)]
    with connect(url) as store, connect(url) as other:
        put = [other.put(key, b"").revision for key in keys]
        read, sizes = node_state.read, []

        def disturbed(
            connection: Connection, transaction: Transaction, *, fresh: Fresh, deadline: Deadline
        ) -> node_state.TransactionState:
            state = read(connection, transaction, fresh=fresh, deadline=deadline)
            sizes.append(len(state.keys))
            if len(state.keys) > 1:
                put.append(other.put(keys[0], b"again").revision)
            return state

        monkeypatch.setattr(node_state, "read", disturbed)
        before_the_call = put[-1]
        check = store.transaction()
        for key in keys:
            check.if_exists(key)
        revision = check.commit().revision
        assert sizes == [6] * reads_of_all
        # Of three servers, the one that is read may not have seen the last two puts yet: they may count as later.
        assert revision >= (before_the_call if reads_of_all == 3 else put[-1])
        assert store.get_with_revision("k5").revision >= revision

        sizes.clear()
        check = store.transaction()
        for key in keys[1:]:
            check.if_exists(key)
        with pytest.raises(Conflict, match=r"exists .* and should not") as caught:
            check.if_absent(keys[0]).commit()
        assert caught.value.keys == (keys[0],)
        assert sizes == [*[6] * (reads_of_all - 1), 1]
        item = store.get(keys[0])
        assert item is not None
        assert item.mod_revision == put[-1]
