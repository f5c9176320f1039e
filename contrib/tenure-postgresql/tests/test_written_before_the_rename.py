"""A store that was written under the project's old name, in the schema of that name, is read and continued.

``written_before_the_rename/leasehold.sql`` is what pg_dump said of a schema that version 0.1 of the old name had filled
before it was killed, ``listed.json`` what that version itself listed. Each test restores it into a database of its own.
Leases of an hour go on as if no time had passed, those of seconds have ended. In the namespace ``copied`` is an
unfinished copy of ``SOURCE``, in ``mirrored`` a mirror of it whose process was killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from postgresql_server import PostgresqlServer
from tenure_postgresql.plugin import tenure_backend

import tenure
from tenure import KeyValue
from tenure.errors import AlreadyRegistered, Conflict, LeaseNotFound, PermissionDenied
from tenure.registry import Instance, Registry, encode
from tenure_testkit.waiting import until

FOLDER = Path(__file__).with_name("written_before_the_rename")
SOURCE = "sqlite://?namespace=source"
DEADLINE = 30.0
Open = Callable[[str], tenure.Store]


@pytest.fixture(scope="module")
def old() -> dict[str, Any]:
    """What the old version knew of its store."""
    return cast("dict[str, Any]", json.loads((FOLDER / "listed.json").read_text())["postgresql"])


@pytest.fixture
def database(server: PostgresqlServer) -> Iterator[str]:
    """A database with what the old version wrote."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    server.sql(f"CREATE DATABASE {name}")
    server.sql((FOLDER / "leasehold.sql").read_text(), database=name)
    server.sql("UPDATE leasehold.lease SET deadline = now() + interval '1 hour' WHERE ttl = 3600000", database=name)
    yield name
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def open_old(server: PostgresqlServer, database: str) -> Iterator[Open]:
    """Opens the store in this namespace."""
    stores: list[tenure.Store] = []

    def open_one(namespace: str) -> tenure.Store:
        stores.append(tenure.connect(url_of(server, database, namespace), timeout=10.0))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tenure.Store]:
    """The source of the copy and of the mirror, as the old version had it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with tenure.connect(SOURCE) as store:
        for number in range(1, 21):
            store.put(f"k/{number:03}", b"%d" % number)
        yield store


def url_of(server: PostgresqlServer, database: str, namespace: str) -> str:
    return server.url(database=database, **({"namespace": namespace} if namespace else {}))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tenure.cli", *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False
    )


def values(store: tenure.Store) -> dict[str, bytes]:
    return {item.key: item.value for item in store.list("k/")}


@pytest.mark.parametrize("namespace", ["", "team/orders"])
def test_every_key_is_read_and_written_on_at_its_revision(old: dict[str, Any], namespace: str, open_old: Open) -> None:
    rows = [KeyValue(key, bytes.fromhex(value), *more) for key, value, *more in old[f"listed {namespace}"]]
    expected = [row for row in rows if row.key not in ("on a short lease", "mirrored/leasehold-mirror-lock")]
    assert len(expected) > 15
    store = open_old(namespace)
    store.delete("no such key")  # a write ends the leases whose time is over
    assert list(store.list()) == expected
    for item in expected:
        assert store.get(item.key) == item
        result = store.put_if_unchanged(item.key, b"new", revision=item.mod_revision)
        assert result.revision > old["revision"]
        with pytest.raises(Conflict):
            store.put_if_unchanged(item.key, b"late", revision=item.mod_revision)
        assert store.get(item.key) == KeyValue(item.key, b"new", item.create_revision, result.revision)


def test_a_watch_resumes_in_what_the_old_version_wrote(old: dict[str, Any], open_old: Open) -> None:
    store = open_old("")
    with store.watch(after=old["start"]) as watch:
        store.put("gone", b"new")  # the old version's functions wake the watcher
        changes: list[tuple[str, bytes | None]] = []
        while ("gone", b"new") not in changes:
            batch = watch.next(DEADLINE)
            assert batch is not None
            changes += [(event.key, event.item.value if event.item else None) for event in batch.events]
    followed = [change for change in changes if change[0] in ("twice", "gone")]
    assert followed == [("twice", b"second"), ("gone", b""), ("gone", None), ("gone", b"new")]


def test_an_old_process_and_a_new_one_write_side_by_side(
    old: dict[str, Any], server: PostgresqlServer, database: str, open_old: Open
) -> None:
    """The old process has its connection and its prepared statement since before the store was brought up to date."""
    with server.connect(database) as process:

        def old_put(value: str) -> int:
            statement = (
                "SELECT now_at FROM leasehold.commit_v1(5000, 10000, gen_random_uuid(), '{}', '{}', '{}', "
                "ARRAY['side'], ARRAY[%s::text::bytea], ARRAY[NULL::text], '{}')"
            )
            found = process.execute(statement, [value], prepare=True).fetchone()
            assert found is not None
            return int(found[0])

        revisions = [old_put("0"), old_put("1")]
        assert old["revision"] < revisions[0] == revisions[1] - 1
        store = open_old("")
        with store.watch(after=revisions[0]) as watch:
            for number in range(2, 8):
                value = str(number)
                revisions.append(old_put(value) if number % 2 else store.put("side", value.encode()).revision)
            seen: list[tuple[int, bytes]] = []
            while len(seen) < 7:
                batch = watch.next(DEADLINE)
                assert batch is not None
                seen += [(event.revision, event.item.value) for event in batch.events if event.item]
        assert revisions == sorted(set(revisions))
        assert seen == [(revision, str(number).encode()) for number, revision in enumerate(revisions)][1:]
        assert revisions[2] > 10**15
        counts = "SELECT log_revisions, (SELECT count(DISTINCT revision) FROM leasehold.log) FROM leasehold.store"
        noted, counted = server.sql(counts, database=database)[0]
        assert noted == counted


def test_the_owner_brings_an_old_store_up_to_date(server: PostgresqlServer, database: str, open_old: Open) -> None:
    user = f"u_{uuid.uuid4().hex[:12]}"
    server.sql(
        f"CREATE ROLE {user} LOGIN PASSWORD '{user}'; GRANT USAGE ON SCHEMA leasehold TO {user}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA leasehold TO {user}",
        database=database,
    )
    url = server.url(database=database, user=user, password=user)
    with pytest.raises(PermissionDenied, match="only its owner can bring it up to date; open it once as that user"):
        tenure.connect(url)
    open_old("")
    with tenure.connect(url) as store:
        assert store.put("key", b"").revision > 10**15
    server.sql(f"DROP OWNED BY {user}; DROP ROLE {user}", database=database)


def test_leases_go_on(old: dict[str, Any], open_old: Open) -> None:
    store = open_old("")
    lasting, _, short = old["leases"]
    assert store.describe_lease(lasting).keys == ("on a lasting lease",)
    store.put("another", b"", lease=lasting)
    store.revoke_lease(lasting)
    assert [store.get(key) for key in ("another", "on a lasting lease", "on a short lease")] == [None] * 3
    with pytest.raises(LeaseNotFound):
        store.put("another", b"", lease=short)


def test_the_old_instance_is_in_the_new_registry(old: dict[str, Any], open_old: Open) -> None:
    store = open_old("")
    key, entry = old["registered"]
    with Registry(store, instance=Instance("shop", id="new-1", port=9090)) as registry:
        found = next(instance for instance in registry.wait_for("shop", 2, DEADLINE).instances if instance.port == 8080)
        assert (found.id, encode(found).decode()) == ("old-1", entry)
        with pytest.raises(AlreadyRegistered), Registry(store, instance=found):
            pass
        store.delete(key)
        until(lambda: len(registry.get_service("shop")) == 1, DEADLINE, "the old instance goes")


def test_an_unfinished_copy_is_finished(
    server: PostgresqlServer, database: str, open_old: Open, source: tenure.Store
) -> None:
    target = open_old("copied")
    assert 0 < len(values(target)) < 20
    done = command("copy", SOURCE, url_of(server, database, "copied"))
    assert done.returncode == 0, done.stderr
    assert values(target) == values(source)
    assert target.get("leasehold-copy") is None


def test_a_mirror_is_continued(server: PostgresqlServer, database: str, open_old: Open, source: tenure.Store) -> None:
    target = open_old("mirrored")
    assert values(target) == values(source)
    source.delete("k/001")
    source.put("k/021", b"new")
    url = url_of(server, database, "mirrored")
    refused = command("mirror", "sqlite://?namespace=another", url)
    assert "is the mirror of" in refused.stderr
    with subprocess.Popen([sys.executable, "-m", "tenure.cli", "mirror", SOURCE, url, "--quiet"]) as running:
        try:
            until(lambda: values(target) == values(source), DEADLINE, "the mirror levels both sides")
        finally:
            running.send_signal(signal.SIGTERM)
        assert running.wait(DEADLINE) == 128 + signal.SIGTERM


def test_the_names_inside_postgresql_are_those_of_before(server: PostgresqlServer) -> None:
    plugin = tenure_backend()
    assert next(option.default for option in plugin.options if option.name == "schema") == "leasehold"
    name = f"t_{uuid.uuid4().hex[:12]}"
    server.sql(f"CREATE DATABASE {name}")
    with tenure.connect(server.url(database=name)), server.connect(name) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'leasehold' ORDER BY 1")
        assert [row[0] for row in tables] == ["change", "item", "lease", "store"]
        channel = connection.execute("SELECT prosrc FROM pg_proc WHERE proname = 'leave_v1'").fetchone()
        assert channel is not None
        assert "pg_notify('leasehold_leasehold', '')" in channel[0]
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
