"""`tenure copy` and `tenure mirror` from each store to each other one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure
from tenure.registry import Instance, Registry, RegistryConfig

from .conftest import Run
from .mirrors import DEADLINE, Running, content, equal, wait_until

pytestmark = pytest.mark.slow

STORES = ("memory", "sqlite", "etcd", "redis", "zookeeper", "consul")
PAIRS = list(itertools.permutations(STORES, 2))
# Whatever a store makes of its keys' names, none of these may become another one.
ODD_KEYS = ("a", "a/", "a//b", "a/b", "/a", ".", "..", "a/../b", "%", "%2F", "*", "k v", "\x01", "ä€😀", "@a", "~a")
WEB = Instance("web", id="1", host="10.0.0.1", host_name="n", port=80)
CONFIG = RegistryConfig(heartbeat=20.0)


def url_of(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if scheme == "memory":
        return f"{request.getfixturevalue('url')}/pairs"
    if scheme == "sqlite":
        return f"sqlite://{tmp_path / 'pairs.db'}"
    return str(request.getfixturevalue(f"{scheme}_own_url"))


@pytest.fixture(params=PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    source, target = request.param
    return url_of(source, request, tmp_path), url_of(target, request, tmp_path)


@pytest.fixture
def source(pair: tuple[str, str]) -> Iterator[tenure.Store]:
    """The store to copy from, with something in it; one key has been there and isn't any more."""
    with tenure.connect(pair[0]) as opened:
        for number, key in enumerate(ODD_KEYS):
            opened.put(key, bytes([0, 255, number]) * number)
        opened.put("gone", b"")
        opened.delete("gone")
        yield opened


@pytest.fixture
def target(pair: tuple[str, str]) -> Iterator[tenure.Store]:
    with tenure.connect(pair[1]) as opened:
        yield opened


def test_copy(run: Run, pair: tuple[str, str], source: tenure.Store, target: tenure.Store) -> None:
    expected = content(source)
    assert expected.keys() == set(ODD_KEYS)
    with Registry(source, CONFIG, WEB):
        result = run("copy", *pair, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    # What hangs on a lease belongs to a living process, and isn't copied.
    assert (record["written"], record["compared"], record["verified"]) == (len(ODD_KEYS), len(ODD_KEYS), True)
    assert content(target) == expected


def test_mirror(source: tenure.Store, target: tenure.Store) -> None:
    with Registry(source, CONFIG, WEB) as old, Registry(target, CONFIG) as new:
        with Running(source, target) as running:
            assert running.until("synced")["written"] == len(ODD_KEYS) + 1
            assert content(target) == content(source)
            new.wait_for("web", 1, DEADLINE)
            source.transaction().put("a/b", b"changed").put("new", b"").delete("a//b").commit()
            source.delete("%")
            old.update(WEB.with_metadata({"version": "2"}))
            equal(source, target)
            assert target.get("a//b") is None
        assert running.error is None

        source.delete("..")
        source.put("a", b"while it was stopped")
        with Running(source, target) as running:
            found = running.until("synced")
            assert (found["written"], found["deleted"]) == (2, 1)  # the copy of the service's entry changes its lease
            assert content(target) == content(source)
            new.register(WEB.with_metadata({"moved": True}), take_over=True)
            old.deregister()
            # Told after the entry's end.
            source.put("last", b"")
            wait_until(target, lambda: "last" in content(target))
        assert running.error is None
        [entry] = new.get_service("web").instances
        assert entry.meta == {"moved": True}
