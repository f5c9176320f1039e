"""Each hook is called with the right arguments when what it tells of happens on a store, and each is called here."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

import tenure
from tenure import aio
from tenure.errors import Conflict, OutcomeUnknown, PermissionDenied, Unavailable, WaitTimeout
from tenure.hookspecs import ObservedStore, Outcome, hookimpl
from tenure.registry import Instance, Registry, RegistryConfig
from tenure.testing import Sandbox
from tenure_testkit.recorder import OBSERVER_HOOKS, Recorder
from tenure_testkit.waiting import until

CAUSED = {
    "test_operations": {"store_opened", "store_closed", "operation_started", "operation_finished"},
    "test_leases": {"lease_granted", "lease_refreshed", "lease_suspect", "lease_lost", "lease_revoked"},
    "test_watches": {
        "watch_opened", "watch_closed", "watch_delivered", "watch_resynced", "watch_disconnected", "watch_reconnected"
    },
    "test_callbacks": {"callback_dequeued", "callback_slow", "callback_finished"},
    "test_registry_and_caches": {"registration_changed", "cache_opened", "cache_closed"},
    "test_recipes": {
        "recipe_waiting", "recipe_queued", "recipe_held", "recipe_given_up", "recipe_released", "recipe_lost"
    },
}  # fmt: skip


def test_each_hook_is_caused_here_and_is_on_the_page() -> None:
    assert set().union(*CAUSED.values()) == set(OBSERVER_HOOKS)
    page = (Path(__file__).parents[2] / "core/docs/how-to/observe.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `tenure_(\w+)`", page, re.MULTILINE)) == set(OBSERVER_HOOKS)


@pytest.fixture
def heard(request: pytest.FixtureRequest):
    """The recorder; at the end, all hooks of the test were called."""
    recorder = Recorder()
    yield recorder
    assert CAUSED[request.node.originalname] <= recorder.hooks


def test_operations(heard: Recorder) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        store.put("a", b"1")
        store.get_many(["a", "b"])
        with pytest.raises(Conflict):
            store.put_if_absent("a", b"2")
        box.faults.fail_calls(2, kinds="get")
        store.get("a")
        box.faults.next_write_unknown(applied=True)
        with pytest.raises(OutcomeUnknown):
            store.transaction().put("a", b"3").put("b", b"3").commit()
        box.faults.fail_calls(error=PermissionDenied, kinds="list")
        with pytest.raises(PermissionDenied) as refused:
            store.list("")
        store.close()
    found = [
        (call.operation, call.outcome, call.attempts, call.batch_size, call.error and type(call.error).__name__)
        for call in heard.of("operation_finished")
    ]
    assert found == [
        ("commit", Outcome.DONE, 1, 1, None),
        ("get_many", Outcome.DONE, 1, 2, None),
        ("commit", Outcome.CONFLICT, 1, 1, "Conflict"),
        ("get", Outcome.DONE, 3, 1, None),
        ("commit", Outcome.UNKNOWN, 1, 2, "OutcomeUnknown"),
        ("list", Outcome.FAILED, 1, 1, "PermissionDenied"),
    ]
    assert heard.of("operation_finished")[-1].error is refused.value
    started = [number for number, (hook, _) in enumerate(heard.heard, 1) if hook == "operation_started"]
    assert [call.context for call in heard.of("operation_finished")] == started
    assert [name for name, _ in heard.heard][:: len(heard.heard) - 1] == ["store_opened", "store_closed"]


def test_the_store_is_told_in_parts(tmp_path: Path) -> None:
    recorder = Recorder()
    with tenure.connect(f"sqlite:///{tmp_path}/store.db?namespace=prod", observers=[recorder]) as store:
        url = store.url
    assert {call.store for _, call in recorder.heard} == {ObservedStore(url, "sqlite", "prod")}
    assert {call.url for _, call in recorder.heard} == {url}


def test_an_interrupted_operation(heard_all: Recorder) -> None:
    with tenure.connect("memory://", observers=[heard_all]) as store:
        store._backend.get = _interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            store.get("a")
    assert heard_all.of("operation_finished", operation="get", outcome=Outcome.INTERRUPTED, error=None)


@pytest.fixture
def heard_all() -> Recorder:
    return Recorder()


def _interrupted(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_leases(heard: Recorder) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        first, second = store.lease(9.0), store.lease(30.0, keep_alive=False)
        box.clock.advance(3.1)
        until(lambda: heard.of("lease_refreshed", lease_id=first.id))
        second.revoke()
        with box.faults.outage():
            box.clock.advance(7.0)
            until(lambda: heard.of("lease_suspect", lease_id=first.id))
            box.clock.advance(9.0)
            until(lambda: heard.of("lease_lost", lease_id=first.id))
        kept = store.lease(9.0)
        store.close()
    (refreshed,) = heard.of("lease_refreshed", lease_id=first.id)
    assert 5.0 < refreshed.remaining <= 6.1
    assert refreshed.seconds >= 0
    assert len(heard.of("lease_suspect")) == 1
    assert 0 < heard.of("lease_suspect")[0].remaining <= 3.1
    assert [call.lease_id for call in heard.of("lease_granted")] == [first.id, second.id, kept.id]
    assert [call.lease_id for call in heard.of("lease_revoked")] == [second.id, kept.id]


def test_watches(heard: Recorder) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        watch = store.watch("p/")
        store.put("p/1", b"")
        store.put("p/2", b"")
        taken = [watch.next(60.0) for _ in range(4)]
        assert [len(batch.events) for batch in taken if batch] == [0, 0, 1, 1]
        with box.faults.watches_disconnected(force_resync=True):
            until(lambda: watch.next(0.01) is None and heard.of("watch_disconnected", prefix="p/"))
        until(lambda: watch.next(1.0) is not None)
        watch.close()
        ended = store.watch("q/", after=store.get_with_revision("p/1").revision)
        box.faults.compact()
        box.faults.cut_watches(force_resync=True)
        with pytest.raises(tenure.Compacted) as compacted:
            ended.next(60.0)
        dropped = store.watch("r/")
        del dropped
        until(lambda: store.get("p/1") and heard.of("watch_closed", prefix="r/"))
    assert [(call.changes, call.pending) for call in heard.of("watch_delivered", prefix="p/")] == [(1, 1), (1, 0)]
    assert all(call.lag >= 0 for call in heard.of("watch_delivered"))
    assert [call.cause for call in heard.of("watch_resynced")] == ["compacted"]
    assert isinstance(heard.of("watch_disconnected")[0].error, Unavailable)
    assert heard.of("watch_reconnected")[0].seconds > 0
    opened = sorted(call.prefix for call in heard.of("watch_opened"))
    assert opened == sorted(call.prefix for call in heard.of("watch_closed")) == ["p/", "q/", "r/"]
    assert heard.of("watch_closed", prefix="q/")[0].error is compacted.value
    assert heard.of("watch_closed", prefix="p/")[0].error is None


def test_callbacks(heard: Recorder) -> None:
    release = threading.Event()

    def stays(batch: object) -> None:
        release.wait(60.0)
        raise ValueError("the application's bug")

    with Sandbox() as box:
        store = box.connect(observers=[heard])
        lease = store.lease(9.0, on_lost=lambda lease: None)
        watch = store.watch("p/", callback=stays)
        (slow,) = until(lambda: heard.of("callback_slow", pool="callbacks"))
        release.set()
        box.faults.expire_lease(lease)
        until(lambda: heard.of("callback_finished", source="lease", error=None))
        until(lambda: heard.of("callback_finished", source="watch"))
        watch.close()
    assert 1.0 <= slow.seconds < 60.0
    failed = heard.of("callback_finished", source="watch")[0]
    assert isinstance(failed.error, ValueError)
    assert failed.seconds > 0  # from the callback itself, later than the work that it is part of
    assert {call.pool for call in heard.of("callback_dequeued")} >= {"callbacks", "losses"}
    assert all(call.waiting >= 0 and call.seconds >= 0 for call in heard.of("callback_dequeued"))


def test_registry_and_caches(heard: Recorder) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        _use_caches(box, store, heard)
        ages = {call.kind: call.age for call in heard.of("cache_closed")}
        assert {call.kind: call.age for call in heard.of("cache_opened")} == ages
        assert ages.keys() == {"registry", "value"}
    changes = heard.of("registration_changed", prefix="/registry/prod/", service="web")
    assert [call.status for call in changes][:3] == ["registered", "recovering", "registered"]


def test_an_import_of_tenure_does_not_import_what_finds_plugins() -> None:
    program = "import sys, tenure; tenure.Store; sys.exit('pluggy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


class _Wraps:
    @hookimpl(wrapper=True)
    def tenure_operation_started(self, operation):
        yield
        return f"of {operation}"

    @hookimpl(specname="tenure_operation_finished")
    def of_another_name(self, operation, context):
        self.heard = (operation, context)


def test_an_observer_may_be_written_in_any_way_that_pluggy_knows() -> None:
    module, wraps, opened = ModuleType("observer"), _Wraps(), []
    module.tenure_store_opened = hookimpl(_opened(opened))
    with tenure.connect("memory://", observers=[module, wraps]) as store:
        store.get("a")
    assert wraps.heard == ("get", "of get")
    assert opened == ["memory://"]


def _opened(opened: list[str]):
    def tenure_store_opened(url):
        opened.append(url)

    return tenure_store_opened


def test_the_age_of_a_cache_does_not_keep_it(heard_all: Recorder) -> None:
    class Old:
        staleness = 7.0

    cache = Old()
    with tenure.connect("memory://", observers=[heard_all]) as store:
        age = store._observers.cache_opened("prefix", "p/", cache)
    assert age() == 7.0
    del cache
    gc.collect()
    assert age() is None


def _use_caches(box: Sandbox, store: tenure.Store, heard: Recorder) -> None:
    with Registry(store, RegistryConfig("prod"), Instance("web", port=80)) as registry:
        registry.add_handler(lambda event: None, replay=True)
        store.delete(registry.key or "")
        until(lambda: box.clock.advance(0.1) or len(heard.of("registration_changed", status="registered")) == 2)
        until(lambda: heard.of("callback_finished", source="registry"))
        with tenure.CachedValue(store, "settings/level", codec=tenure.BYTES, default=b"low") as level:
            level.on_change(lambda value: None)
            store.put("settings/level", b"high")
            until(lambda: heard.of("callback_finished", source="recipe"))
            ages = [call.age for call in heard.of("cache_opened")]
            assert [age() for age in ages] == [0.0, 0.0]
            with box.faults.outage():
                box.clock.advance(1.0)
                until(lambda: [round(age(), 6) for age in ages] == [1.0, 1.0])


def test_recipes(heard: Recorder) -> None:
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        held = tenure.Lock(store, "job").acquire()
        other = tenure.Lock(store, "job")
        assert other.try_acquire() is None
        with pytest.raises(WaitTimeout), _Moving(box):
            other.acquire(timeout=0.5)
        held.release()
        term = tenure.Election(store, "boss").campaign()
        box.faults.expire_lease(term.session.lease)
        until(lambda: heard.of("recipe_lost", kind="election", name="boss", token=term.token))
        assert not term.release()
    (first,) = heard.of("recipe_held", kind="lock", name="job", token=held.token)
    assert [type(call.error).__name__ for call in heard.of("recipe_given_up")] == ["NoneType", "WaitTimeout"]
    assert heard.of("recipe_given_up")[1].seconds > 0
    assert heard.of("recipe_queued", kind="lock", name="job", ahead=1, waiters=2)
    assert len(heard.of("recipe_released", kind="lock", name="job", token=held.token)) == 1
    assert not heard.of("recipe_released", kind="election")
    assert len(heard.of("recipe_lost")) == 1
    waiting = [number for number, (hook, _) in enumerate(heard.heard, 1) if hook == "recipe_waiting"]
    assert {first.context, *(call.context for call in heard.of("recipe_given_up"))} <= set(waiting)


class _Moving:
    """Moves the sandbox's clock as long as the block runs, so that waits on it end."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._move)

    def _move(self) -> None:
        while not self._end.wait(0.01):
            self._box.clock.jump(0.1)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *args: object) -> None:
        self._end.set()
        self._thread.join()


def test_on_a_loop_the_same_hooks_are_called_in_the_context_of_the_task(tmp_path: Path) -> None:
    task = contextvars.ContextVar("task", default="none")
    seen: list[str] = []

    class InContext:
        @hookimpl
        def tenure_operation_started(self, operation):
            if operation == "get":
                seen.append(task.get())

    recorder, observer = Recorder(), InContext()

    async def reads(store: aio.Store, name: str) -> None:
        task.set(name)
        await store.get("a")

    async def main() -> None:
        async with aio.connect(f"sqlite:///{tmp_path}/store.db", observers=[recorder, observer]) as store:
            await asyncio.gather(*(reads(store, name) for name in ("one", "two", "three")))
            async with aio.Lock(store, "job").hold():
                pass
            async with (
                aio.CachedValue(store, "level", codec=tenure.BYTES, default=b"") as level,
                store.watch("level") as watch,
            ):
                level.on_change(lambda value: None)
                await store.put("level", b"high")
                async for batch in watch:
                    if batch.events:
                        break
                while not recorder.of("callback_finished", source="recipe"):
                    await asyncio.sleep(0.01)
            async with aio.Registry(store, RegistryConfig("prod"), Instance("web", port=80)):
                pass

    asyncio.run(main())
    assert sorted(seen) == ["one", "three", "two"]
    assert recorder.of("recipe_held", kind="lock")
    assert recorder.of("recipe_released", kind="lock")
    assert recorder.of("callback_finished", source="watch")
    assert [call.kind for call in recorder.of("cache_closed")] == ["value", "registry"]
    assert recorder.of("registration_changed", service="web", status="registered")
    assert len(recorder.of("watch_opened")) == len(recorder.of("watch_closed")) > 0
    assert len(recorder.of("lease_granted")) == len(recorder.of("lease_revoked")) > 0


def test_a_key_that_is_gone_while_its_session_lives_is_a_loss() -> None:
    heard = Recorder()
    with Sandbox() as box:
        store = box.connect(observers=[heard])
        held = tenure.Lock(store, "job").acquire()
        store.delete(held.key)
        held.session.lease.refresh()
        until(lambda: heard.of("recipe_lost", kind="lock", name="job", token=held.token))
        assert held.session.alive
        assert not held.release()
    assert len(heard.of("recipe_lost")) == 1
    assert not heard.of("recipe_released")
