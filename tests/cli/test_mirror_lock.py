"""`tenure mirror` and whose the target is: one mirror writes to it, of one source, and never to the source."""

from __future__ import annotations

import json

import pytest

import tenure
import tenure_memory
from tenure._failed import Failed
from tenure.errors import ConfigError, Conflict
from tenure.migration.mirror import Mirror
from tenure.migration.mirror_lock import LOCK, RECORD, Hold

from .conftest import Run
from .mirrors import TTL, Running, content, equal, lease_of


def test_one_mirror_at_a_time(source: tenure.Store, target: tenure.Store) -> None:
    with Running(source, target) as running:
        running.until("synced")
        with pytest.raises(Failed, match="another mirror is writing"):
            Mirror(source, target, ttl=TTL, tell=lambda *_, **__: None, stop=lambda _: False).run()
        source.put("a", b"1")
        equal(source, target)


def test_who_lost_the_lock_to_another_writes_no_more(
    source: tenure.Store, target: tenure.Store, names: tuple[str, str]
) -> None:
    frozen, quick = Hold(target, source.url, ttl=TTL), Hold(target, source.url, ttl=TTL)
    frozen.take()
    overdue = frozen.transaction().put("a", b"late")
    tenure_memory.server(names[1]).expire_lease(lease_of(target, LOCK))
    quick.take()
    with pytest.raises(Conflict):
        overdue.commit()
    with pytest.raises(Failed, match="another mirror"):
        frozen.take()
    quick.transaction().put("a", b"1").commit()
    assert content(target) == {"a": b"1"}


def test_a_target_with_keys_or_of_another_source_is_refused(
    run: Run, url: str, source: tenure.Store, target: tenure.Store
) -> None:
    target.put("b", b"old")
    result = run("mirror", source.url, target.url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr.splitlines()[-1])["error"] == "Failed"
    assert "empty" in result.stderr
    target.delete("b")
    target.put(RECORD, b'{"source": "memory://elsewhere", "leases": []}')
    result = run("mirror", source.url, target.url)
    assert result.exit_code == 1
    assert "memory://elsewhere" in result.stderr
    target.put(RECORD, b"not a record")
    assert run("mirror", source.url, target.url).exit_code == 1
    assert {item.key for item in target.list()} == {RECORD}


def test_a_target_that_is_the_source_or_inside_it(run: Run, url: str, store: tenure.Store) -> None:
    for first, second in ((url, f"{url}/inside"), (f"{url}/n", f"{url}?namespace=n")):
        result = run("mirror", first, second)
        assert result.exit_code == 2, result.stderr
        assert "the same namespace" in result.stderr


def test_a_source_inside_the_target(url: str, store: tenure.Store) -> None:
    with tenure.connect(f"{url}/n") as inside, Running(inside, store) as running:
        running.until("synced")
    with tenure.connect(f"{url}/n") as inside:
        inside.put("k", b"1")
        with Running(inside, store) as running:
            running.until("ended")
        assert isinstance(running.error, ConfigError)
        assert inside.get("k") is not None
