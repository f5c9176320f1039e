"""`watch` and `kv watch` through gaps: each is told, with what came of it.

The commands run in this process; what happens next to the store is hung on the moment when they print something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import pytest
from click.testing import Result

import tenure
import tenure_memory
from tenure.cli.commands import kv_watch, watch
from tenure.registry import Instance
from tenure.registry.model.events import Part, Status, StatusChange
from tenure.registry.model.wire_format import encode

from .conftest import Run

KEY = "/registry/default/web/one@10.0.0.1"
VALUE = encode(Instance("web", id="one", host="10.0.0.1", host_name="h", port=8001))


@pytest.fixture
def server(url: str, store: tenure.Store) -> tenure_memory.MemoryServer:
    return tenure_memory.server(url.removeprefix("memory://"))


def after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, then: Any) -> None:
    """Call ``then`` with the arguments of ``module.name`` after each call of it."""
    real = getattr(module, name)

    def wrapper(*args: Any, **options: Any) -> None:
        real(*args, **options)
        then(*args)

    monkeypatch.setattr(module, name, wrapper)


def types(output: str) -> list[str]:
    return [json.loads(line)["type"] for line in output.splitlines()]


def test_watch_tells_a_resync_and_the_difference(
    run: Run, store: tenure.Store, server: tenure_memory.MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, VALUE)
    after(monkeypatch, watch, "_show_in_sync", lambda *_: server.lose_data())
    result = run("watch", "--changes", "1", "--json")
    told = [kind for kind in types(result.stdout) if kind not in ("outage", "reconnected")]
    assert told == ["snapshot", "synced", "resync", "delete"]


def test_kv_watch_tells_a_resync_and_the_difference(
    run: Run, store: tenure.Store, server: tenure_memory.MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k", b"v")
    done: list[object] = []

    def lose(out: Any, batch: tenure.Batch, *_: Any) -> None:
        if batch.type is tenure.BatchType.SYNCED and not done:
            done.append(server.lose_data())

    after(monkeypatch, kv_watch, "_show", lose)
    result = run("kv", "watch", "--changes", "1", "--json")
    told = [kind for kind in types(result.stdout) if kind not in ("outage", "reconnected")]
    assert told == ["snapshot", "synced", "resync", "delete"]


@pytest.fixture(params=[("watch",), ("kv", "watch")], ids=" ".join)
def outage_of(
    request: pytest.FixtureRequest,
    run: Run,
    store: tenure.Store,
    server: tenure_memory.MemoryServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Result]:
    """The command through an outage that begins when it is in sync and ends when its cause was told; then a change."""

    def told(out: Any, outage: Any, *_: Any) -> None:
        if outage.over:
            store.put(KEY, VALUE)
        elif outage.cause is not None:
            server.resume()

    def in_sync(out: Any, *details: Any) -> None:
        if not isinstance(details[0], tenure.Batch) or details[0].type is tenure.BatchType.SYNCED:
            server.pause()

    module: Any = watch if request.param == ("watch",) else kv_watch
    after(monkeypatch, module, "show_outage", told)
    after(monkeypatch, module, "_show_in_sync" if module is watch else "_show", in_sync)
    return partial(run, *request.param, "--changes", "1")


def test_an_outage_its_cause_and_its_end_are_told(outage_of: Callable[..., Result]) -> None:
    records = [json.loads(line) for line in outage_of("--json").stdout.splitlines()]
    kinds = [record["type"] for record in records]
    # The cause may become known after the outage: then it is told twice.
    assert [kind for kind, _ in groupby(kinds)] == ["synced", "outage", "reconnected", "create"]
    told = records[kinds.index("reconnected") - 1]
    assert told["error"] == "Unavailable"
    assert "paused" in told["reason"]


def test_people_are_told_of_an_outage_apart_from_the_changes(outage_of: Callable[..., Result]) -> None:
    result = outage_of()
    assert len(result.stdout.splitlines()) == 2  # in sync, and the change
    *begun, over = result.stderr.splitlines()
    assert "no changes from the store for" in begun[-1]
    assert "paused" in begun[-1]
    assert "the store is back after" in over


def test_a_watch_that_can_not_go_on_ends_with_its_error(
    run: Run, store: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(out: Any, count: int, url: str) -> None:
        error = tenure.PermissionDenied("the user may no longer read")
        news[0].status(StatusChange(Part.CACHE, Status.FAILED, "ended", error))

    news: list[Any] = []
    real = watch._News

    def remembered() -> Any:
        news.append(real())
        return news[0]

    monkeypatch.setattr(watch, "_News", remembered)
    after(monkeypatch, watch, "_show_in_sync", end)
    result = run("watch")
    assert result.exit_code == 2
    assert "may no longer read" in result.stderr
