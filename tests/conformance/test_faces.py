"""The suite through the asyncio interface: same verdicts on a sound store, and broken interfaces are found."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

import tenure
from tenure import aio
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.face import AioFace, SyncFace
from tenure.conformance.harness.rule import AIO, SYNC, Rule, Rules, catalogue, of_face
from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.report.document import document
from tenure.conformance.report.page import page
from tenure.conformance.report.verify import face_of, verify
from tenure.conformance.rules import asyncio_alone
from tenure.conformance.runner.runner import Plan, Run, all_rules, run
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import Conflict
from tenure.registry import Instance, Registry

from .mutants import defect_of
from .mutants.base import Mutant, standing
from .mutants.faces import MUTANTS

pytest_plugins = ["pytester"]

FEW = (
    *("kv.put_if_absent*", "transactions.refused*", "watches.tell*", "closing.is_final", "registry.registers*"),
    *("asyncio.a_*", "asyncio.callbacks*", "recipes.a_run_is*", "recipes.guards_refuse_stale*"),
)
"""Quick rules of each area."""


def memory() -> str:
    return f"memory://{uuid.uuid4().hex}"


def through(face: str, *rules: str, url: str | None = None) -> Run:
    return run(Plan(url=url or memory(), rules=rules, face=face, rule_budget=30.0))


def verdicts(found: Run) -> dict[str, Verdict]:
    return {result.rule.id: result.verdict.verdict for result in found.results}


def test_the_rules_of_a_sound_store_have_the_same_verdicts() -> None:
    found = through(AIO, *FEW)
    assert {name: verdict for name, verdict in verdicts(found).items() if verdict is not Verdict.PASS} == {}
    areas = {result.rule.area for result in found.results}
    assert areas >= {"kv", "transactions", "watches", "closing", "registry", "asyncio", "recipes"}
    unused = [
        result.rule.id
        for result in found.results
        if result.evidence is not None and not result.shared_with and not sum(result.evidence.counts.values())
    ]
    assert unused == ["closing.is_final"]  # whose calls are refused before they are counted


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sound store in memory doesn't do in this time it never does."""
    monkeypatch.setattr(asyncio_alone, "EVENT_TIMEOUT", 2.0)
    for waits in (Follower.wait, Follower.wait_for):
        monkeypatch.setattr(waits, "__kwdefaults__", {"within": 2.0})


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_interface_is_found(mutant: Mutant) -> None:
    with standing(mutant) as (url, _):
        found = verdicts(through(AIO, *mutant.rules, url=url))
        assert set(found.values()) == {Verdict.FAIL}, (defect_of(mutant), found)
        others = [rule for rule in mutant.rules if not rule.startswith("asyncio.")]
        if others:
            assert set(verdicts(through(SYNC, *others, url=url)).values()) == {Verdict.PASS}


def test_a_rule_about_one_interface_is_told_apart_from_one_that_is_kept() -> None:
    found = through(AIO, "watches.a_blocked*", "spi.servers*")
    for result in found.results:
        assert result.verdict.verdict is Verdict.NOT_SUPPORTED
        assert result.verdict.reason.startswith("not applicable to the face aio: ")
        assert not result.executed
    assert found.conclusion is Conclusion.INCONCLUSIVE  # nothing was tried
    assert {rule.id for rule in all_rules(AIO)} - {rule.id for rule in all_rules()} == {
        rule.id for rule in all_rules(AIO) if rule.area == "asyncio"
    }
    with pytest.raises(TypeError, match="no such face"):
        of_face("thread", because="")


def test_the_report_says_which_interface_was_used() -> None:
    made = json.loads(json.dumps(document(through(AIO, "kv.a_missing*", "spi.servers*"))))
    assert made["run"]["face"] == face_of(made) == AIO
    assert verify(made, all_rules(AIO)).problems == []
    assert "asyncio" in page(made)
    assert face_of(document(through(SYNC, "kv.a_missing*"))) == face_of(None) == SYNC
    forged: dict[str, Any] = {**made, "run": {**made["run"], "face": SYNC}}
    assert verify(forged, all_rules(SYNC)).problems != []


class Own(Rules, area="own"):
    """For the tests below."""

    def test_own_rule(self, context: RuleContext) -> None:
        """It holds."""


RULE: Rule = catalogue(Own)["test_own_rule"]


def test_a_thread_uses_the_asyncio_interface_as_the_other_one() -> None:
    seen: list[object] = []
    with RuleContext(memory(), RULE, face=AioFace) as context:
        store = context.store
        with store.lease(10, on_lost=seen.append) as lease, store.watch("a/") as watch:
            assert store.put("a/1", b"1", lease=lease).revision
            assert watch.next(10) is not None
            with pytest.raises(Conflict):
                store.transaction().if_absent("a/1").put("a/1", b"2", lease=lease).commit()
            assert [item.key for item in store.scan("a/")] == ["a/1"]
            while not (batch := next(iter(watch))).events:
                pass
            assert batch.events[0].key == "a/1"
            lease.mark_lost("as a refresh would tell")
            assert lease.state is tenure.LeaseState.LOST
        with context.make(Registry, store, None, Instance("web", port=80)) as registry:
            assert registry.pick("web").port == 80
            assert registry == registry.start()
        with context.make(tenure.Session.open, store, ttl=10) as session:
            assert context.make(tenure.Lock, store, "own", session=session).acquire().session.alive
        assert not session.alive
        held = context.make(tenure.Lock, store, "l").acquire()
        assert held.release()
        shares = context.make(tenure.Partitioner, store, "p", partitions=2)
        assert shares.update()
        assert shares.owned[0].held
        with context.make(tenure.CachedValue, store, "s", codec=tenure.JSON, default=1) as setting:
            assert setting.value == 1

        async def on_the_loop(opened: aio.Store) -> bool:
            return opened.url == store.url and asyncio.current_task() is not None

        assert context.face.run(on_the_loop, store)
    assert seen == [lease]
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith(("conformance-loop", "tenure-aio"))
    ]
    with RuleContext(memory(), RULE, face=SyncFace) as context, pytest.raises(LookupError):
        context.face.run(on_the_loop, context.store)


def test_an_error_that_only_the_loop_hears_of_violates_the_rule() -> None:
    async def forget(store: aio.Store) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "nobody asked", "exception": ValueError("x")})

    context = RuleContext(memory(), RULE, face=AioFace)
    context.face.run(forget, context.store)
    with pytest.raises(AssertionError, match="nobody asked: ValueError: x"):
        context.close()
    context.close()


def test_a_callback_that_waits_for_its_own_loop_is_refused() -> None:
    errors: list[BaseException] = []
    with RuleContext(memory(), RULE, face=AioFace) as context:

        def callback(_: tenure.Batch) -> None:
            try:
                context.store.get("a")
            except RuntimeError as exc:
                errors.append(exc)

        context.store.watch("", callback=callback)
        context.store.put("a", b"")
        context.check.eventually(lambda: errors, bool, "a callback", expected="an error")
    assert "of_face" in str(errors[0])


def test_pytest_uses_the_interface_that_it_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        from tenure.conformance import StoreConformance

        class TestMine(StoreConformance):
            url = {memory()!r}
        """
    )
    chosen = "kv_a_missing or spi_servers or asyncio_callbacks"
    result = pytester.runpytest_inprocess("-q", "-k", chosen, "--tenure-face", "aio", "--tenure-report", "report.json")
    result.assert_outcomes(passed=2, skipped=1, deselected=len(all_rules(AIO)) - 3)
    report = json.loads(Path(pytester.path / "report.json").read_text())
    assert report["run"]["face"] == AIO
    assert verify(report, all_rules(AIO)).problems == []
    result = pytester.runpytest_inprocess("-q", "-k", chosen)
    result.assert_outcomes(passed=2, deselected=len(all_rules()) - 2)
