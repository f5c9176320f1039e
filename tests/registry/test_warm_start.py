"""A registry starts from its file while the store is away, says its age, and is right once the store is back."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenure
from tenure._client.opening import Opening
from tenure._runtime.clock import SystemClock
from tenure._runtime.deadline import wall_clock
from tenure.errors import AlreadyRegistered, ConfigError, Unavailable
from tenure.registry import Instance, Part, Registry, RegistryConfig, Status, encode, key_of
from tenure.registry.lifecycle.cache import Cache
from tenure.registry.warm.file import Refused, WarmFile
from tenure.spi.types import KeyValue
from tenure.watch.events import Batch, BatchType, Event, EventType
from tenure_testkit.waiting import until

PREFIX = "/registry/default/"
QUICK = {"retry_first": 0.01, "retry_longest": 0.05}


def one(service: str = "web", name: str = "1", **more: object) -> Instance:
    return Instance(service, id=name, host="h", host_name="h", **more)


def write(store, *instances: Instance) -> None:
    for instance in instances:
        store.put(key_of(PREFIX, instance), encode(instance))


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "known.jsonl"


@pytest.fixture
def url(server) -> str:
    return f"memory://{server.name}"


@pytest.fixture
def away(monkeypatch):
    """While it holds true, no store can be opened."""
    state = {"away": False}
    real = Opening.once

    def once(self, timeout=None):
        if state["away"]:
            raise Unavailable("connecting: nobody answers")
        return real(self, timeout)

    monkeypatch.setattr(Opening, "once", once)
    return state


@pytest.fixture
def known(store, url, path):
    """A file that a registry has left: two instances of web, one of db."""
    write(store, one(), one(name="2"), one("db"))
    Registry(url, RegistryConfig(warm_file=path)).start().close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return path


def test_a_start_without_the_store_serves_the_file_and_says_its_age_until_the_store_is_back(
    store, url, known, away, told
):
    away["away"] = True
    registry = Registry(url, RegistryConfig(warm_file=known, **QUICK), one("own"))
    statuses, events = told(), told()
    registry.add_status_handler(statuses)
    with registry.start():
        assert {name: len(each) for name, each in registry.get_services().items()} == {"web": 2, "db": 1}
        assert registry.pick("db") == one("db")
        assert 0 <= registry.staleness < math.inf
        assert isinstance(registry.error, Unavailable)
        assert statuses.of(1)[0].status is Status.RECOVERING
        with pytest.raises(Unavailable, match="has not been reached since the start"):
            registry.store.put("key", b"", timeout=0.01)
        registry.add_handler(events)
        store.delete(key_of(PREFIX, one(name="2")))
        write(store, one("db", port=9), one("new"))
        away["away"] = False
        # It is registered a moment before the cache has it, and before the start has ended.
        until(lambda: registry.status is Status.REGISTERED and registry.error is None, 60, "the registration")
        until(lambda: "own" in registry.get_services(), 60, "the own instance in the cache")
        assert {name: len(each) for name, each in registry.get_services().items()} == {
            "web": 1,
            "db": 1,
            "new": 1,
            "own": 1,
        }
        assert registry.get_service("db")[0].port == 9
        assert registry.staleness == 0.0
        # What the file had right is no event.
        assert sorted((str(each.type), each.instance.identity()) for each in events.of(4)) == [
            ("create", "new/1@h"),
            ("create", "own/1@h"),
            ("delete", "web/2@h"),
            ("upsert", "db/1@h"),
        ]
        assert [each.status for each in statuses if each.part is Part.CACHE] == [Status.RECOVERING, Status.FOLLOWING]
    assert store.get(key_of(PREFIX, one("own"))) is None
    assert registry.store.closed


def test_the_registry_of_the_process_starts_from_its_file(url, known, away):
    from tenure import registry as services

    away["away"] = True
    services.init(url, RegistryConfig(warm_file=known, **QUICK))
    try:
        assert len(services.get_service("web")) == 2
    finally:
        services.close()


def test_an_open_store_that_is_away_is_no_different(store, known, monkeypatch):
    real, gone = store.watch, [True]

    def watch(*arguments, **options):
        if gone:
            raise Unavailable("watching: nobody answers")
        return real(*arguments, **options)

    monkeypatch.setattr(store, "watch", watch)
    with Registry(store, RegistryConfig(warm_file=known, **QUICK)) as registry:
        assert len(registry.get_service("web")) == 2
        gone.clear()
        until(lambda: registry.staleness == 0.0, 60, "the cache in sync")
    assert not store.closed


@pytest.mark.parametrize("content", [None, b"", b"{}\n{}\n", b"\xff" * 100])
def test_without_a_file_that_can_be_used_the_start_raises_as_ever(url, path, away, content, caplog):
    if content is not None:
        path.write_bytes(content)
    away["away"] = True
    registry = Registry(url, RegistryConfig(warm_file=path))
    with pytest.raises(Unavailable):
        registry.start()
    assert registry.closed
    assert f"starts without its warm file {path}" in caplog.text


def test_a_close_while_the_store_is_away_leaves_the_file_as_it_was(url, known, away):
    before = known.read_bytes()
    away["away"] = True
    Registry(url, RegistryConfig(warm_file=known, retry_first=3600.0, retry_longest=3600.0)).start().close()
    assert known.read_bytes() == before


def test_an_identity_that_is_taken_meanwhile_is_reported_and_the_cache_follows(store, url, known, away, told):
    statuses = told()
    away["away"] = True
    registry = Registry(url, RegistryConfig(warm_file=known, **QUICK), one("own"))
    registry.add_status_handler(statuses)
    with registry.start():
        write(store, one("own"))
        away["away"] = False
        statuses.wait(lambda items: any(each.status is Status.FAILED for each in items))
        assert isinstance(registry.error, AlreadyRegistered)
        assert registry.staleness == 0.0


def test_the_file_is_written_again_after_a_change(store, url, path):
    write(store, one())
    with Registry(url, RegistryConfig(warm_file=path)) as registry:
        until(path.exists, 60, "the file")
        write(store, one(name="2"))
        until(lambda: len(registry.get_service("web")) == 2, 60, "the change")
        assert registry._warm is not None
        assert registry._warm._due()
    assert len(WarmFile(path, prefix=PREFIX, store=url).read().entries) == 2


def test_a_file_that_cannot_be_written_costs_the_file_alone(store, url, known, monkeypatch, caplog):
    before = known.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with Registry(url, RegistryConfig(warm_file=known)) as registry:
        write(store, one(name="3"))
        until(lambda: len(registry.get_service("web")) == 3, 60, "the change")
    assert "can't write its warm file" in caplog.text
    assert known.read_bytes() == before
    assert [each.name for each in known.parent.iterdir()] == [known.name]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("warm") / "good"
    entries = [(key_of(PREFIX, each), each) for each in (one(), one(meta={"ä": ["\n", 1.5]}, name="2"))]
    WarmFile(path, prefix=PREFIX, store="memory://x").write(entries, wall_clock())
    assert WarmFile(path, prefix=PREFIX, store="memory://x").read().entries == tuple(entries)
    return path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_file_with_any_damage_is_refused(good, data):
    content = good.read_bytes()
    at = data.draw(st.integers(0, len(content) - 2))  # the last byte is the end of a line
    damaged = data.draw(
        st.sampled_from(
            [
                content[:at],
                content[at + 1 :],
                content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
                content[:at] + b"\n" + content[at:],
                content + content,
            ]
        )
    )
    path = good.with_name("damaged")
    path.write_bytes(damaged)
    path.chmod(0o600)
    try:
        read = WarmFile(path, prefix=PREFIX, store="memory://x").read()
    except Refused:
        return
    # Blanks beside the digest change nothing that is read.
    assert read.entries == WarmFile(good, prefix=PREFIX, store="memory://x").read().entries


def sealed(*lines: object) -> bytes:
    """Lines with a digest that fits, as somebody would write them who means harm."""
    body = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines).encode()
    tail = {"entries": 0, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(tail).encode() + b"\n"


HEAD = {"tenure-registry": 1, "prefix": PREFIX, "store": "memory://x", "as_of": 1.0}
VALUE = encode(one()).decode()


@pytest.mark.parametrize(
    "content",
    [
        sealed(HEAD | {"tenure-registry": 2}),
        sealed(HEAD | {"prefix": "/other/"}),
        sealed(HEAD | {"store": "memory://y"}),
        sealed(HEAD | {"as_of": True}),
        sealed(HEAD | {"as_of": "now"}),
        sealed(HEAD, ["/other/web/1@h", VALUE]),
        sealed(HEAD, [f"{PREFIX}web/1@h", 5]),
        sealed(HEAD, [f"{PREFIX}web/1@h", "[" * 100_000]),
        sealed(HEAD, "[" * 100_000),
        sealed(HEAD, {"key": "value"}),
        sealed([]),
        sealed("[" * 100_000),
    ],
)
def test_what_is_no_copy_of_this_registry_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Refused) as raised:
        WarmFile(path, prefix=PREFIX, store="memory://x").read()
    reason = str(raised.value)
    assert len(reason) < 400
    assert not any(other in reason for other in ("digest", "another user"))


def test_files_of_others_and_what_is_no_file_are_refused(tmp_path, good):
    file = WarmFile(tmp_path / "file", prefix=PREFIX, store="memory://x")
    with pytest.raises(Refused, match="there is none"):
        file.read()
    file.path.write_bytes(good.read_bytes())
    file.path.chmod(0o620)
    with pytest.raises(Refused, match="another user may have written it"):
        file.read()
    file.path.unlink()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(Refused, match="no regular file"):
        file.read()
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(Refused):
        file.read()


def test_a_file_from_the_future_tells_no_age(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(sealed(HEAD | {"as_of": wall_clock() + 86_400}, [f"{PREFIX}web/1@h", VALUE]))
    path.chmod(0o600)
    assert WarmFile(path, prefix=PREFIX, store="memory://x").read().age == math.inf


def test_an_unfinished_file_of_a_process_that_died_is_removed(tmp_path):
    file = WarmFile(tmp_path / "file", prefix=PREFIX, store="memory://x")
    old, new = tmp_path / ".file.1.new", tmp_path / ".file.2.new"
    for each in (old, new):
        each.touch()
    os.utime(old, (1, 1))
    file.write((), 0.0)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".file.2.new", "file"]


@pytest.mark.parametrize(("wrong", "says"), [("", "is the path"), (5, "is the path"), ("/none/such", "is no folder")])
def test_a_path_that_can_hold_no_file_is_refused(wrong, says):
    with pytest.raises(ConfigError, match=says):
        RegistryConfig(warm_file=wrong)


def test_what_a_failed_attempt_has_confirmed_is_confirmed_again_by_the_next():
    cache = Cache("/p/", lambda told: None)
    old = one()
    cache.load([(key_of("/p/", old), old)])
    event = Event(EventType.CREATE, key_of("/p/", old), KeyValue(key_of("/p/", old), encode(old), 1, 1), 1)
    cache.expect(["web", "db"])
    cache.apply(Batch(BatchType.SNAPSHOT, (event,), 1), "web")
    assert not cache.in_sync
    cache.expect(["web", "db"])  # db couldn't be watched, and meanwhile the instance has gone
    cache.apply(Batch(BatchType.SNAPSHOT, (), 2), "web")
    assert cache.services["web"].instances == (old,)
    cache.apply(Batch(BatchType.SNAPSHOT, (), 2), "db")
    assert cache.in_sync
    assert not cache.services


def test_a_url_alone_opens_and_closes_its_store(url, store):
    with Registry(url, instance=one()) as registry:
        assert registry.store.get(key_of(PREFIX, one())) is not None
    assert registry.store.closed
    with pytest.raises(tenure.UnknownScheme):
        Registry("nonsense://x")
