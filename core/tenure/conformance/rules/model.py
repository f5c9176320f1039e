"""A Hypothesis state machine that applies random operations to a store and to a dictionary, and compares them.

The operations are sequential, so every result is known in advance: values, revisions, conflicts, leases, lists, and
the events of a watch. Hypothesis shrinks a failure to a short sequence. The time for that is limited: if a watcher
misses an event, every attempt takes the whole timeout.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tenure.conformance.checkers import write_history
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules
from tenure.conformance.workloads.leases import seconds_of_a_put
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import Conflict, TenureError
from tenure.leases import Lease
from tenure.spi import CommitResult, KeyValue

EXAMPLES = 30
STEPS = 40

_LONGEST = 45.0
"""Seconds that all sequences may take, about; a slow store runs fewer."""

_SHRINKING = 20.0
"""Seconds for finding a shorter sequence once one has failed."""

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,  # a store's speed isn't what is tested
    derandomize=True,  # the same examples in every run: a failure is a failure, not luck
    database=None,
    suppress_health_check=list(HealthCheck),
)

# Some come often: much goes wrong only when one key is put, leased, deleted and put again.
_KEYS = st.sampled_from(["a", "a", "a", "a", "a/", "a/", "a/b", "a//b", "b", "%", "\u00e9", "a*", "\U0001f600"])
_PREFIXES = st.sampled_from(["", "a", "a/", "%", "\u00e9", "zzz"])
_VALUES = st.binary(max_size=20)


class _Enough(BaseException):
    """Ends the search for a shorter sequence."""


@dataclass(slots=True)
class _Failure:
    """The shortest sequence so far that has failed."""

    error: BaseException | None = None
    did: list[str] = field(default_factory=list)
    until: float = math.inf

    def keep(self, error: BaseException, did: list[str]) -> None:
        if not isinstance(error, AssertionError | TenureError):
            return  # Hypothesis' own, by which it ends a sequence
        if self.error is None:
            self.until = time.monotonic() + _SHRINKING
        if self.error is None or len(did) < len(self.did):
            self.error, self.did = error, did


class ModelRules(Rules, area="model"):
    """Random sequences."""

    def test_model_agrees_with_a_dictionary(self, context: RuleContext) -> None:
        """For every sequence of operations the store returns what a dictionary with revisions would."""
        counter = itertools.count()
        steps = 0
        failure = _Failure()
        one = seconds_of_a_put(context)
        examples = max(1, min(EXAMPLES, int(_LONGEST / (STEPS * one))))

        class Machine(_Machine):
            def __init__(self) -> None:
                if time.monotonic() > failure.until:
                    raise _Enough
                super().__init__(context, f"{next(counter)}:")

            def teardown(self) -> None:
                nonlocal steps
                steps += self.steps
                error = sys.exc_info()[1]
                try:
                    if error is not None:
                        failure.keep(error, self.did)
                    else:
                        self.compare()
                except Exception as exc:
                    failure.keep(exc, self.did)
                    raise
                finally:
                    self.end()

        try:
            with warnings.catch_warnings():
                # A thread of a client library may use the module `random` while something is drawn, as kazoo's does
                # for its signs of life; Hypothesis takes that for the state machine's doing.
                warnings.filterwarnings("ignore", "Do not use the `random` module", HypothesisDeprecationWarning)
                run_state_machine_as_test(Machine, settings=settings(PROFILE, max_examples=examples))
        except (Exception, _Enough) as exc:
            # Hypothesis takes it badly when the search is ended, or a sequence fails only now and then.
            if failure.error is None or exc is failure.error:
                raise
            failure.error.add_note(f"after these writes to an empty prefix: {'; '.join(failure.did)}")
            raise failure.error from None
        # What is drawn depends on the literals in the plugin's modules, too: some plugins see a third of the steps.
        context.check.enough(steps, examples * STEPS // 8, "an operation of the state machine")


def _has_leases(machine: Any) -> bool:
    return bool(machine.leases)


class _Machine(RuleBasedStateMachine):
    """One example: works under a prefix of its own of the rule's namespace."""

    def __init__(self, context: RuleContext, prefix: str) -> None:
        super().__init__()
        self.steps = 0
        self.did: list[str] = []
        """Writes made."""
        self.check = context.check
        self.store = context.store
        self.prefix = prefix
        self.model: dict[str, KeyValue] = {}
        self.leases: list[Lease] = []
        self.revision = 0
        self.writes = write_history.History()
        self.follower = Follower(self.check, self.store.watch(prefix))

    # -- writing --

    @rule(key=_KEYS, value=_VALUES)
    def put(self, key: str, value: bytes) -> None:
        self._wrote(self.store.put(self.prefix + key, value), {key: (value, None)}, f"put({key!r})")

    @precondition(_has_leases)
    @rule(key=_KEYS, value=_VALUES, which=st.integers(0, 10))
    def put_with_lease(self, key: str, value: bytes, which: int) -> None:
        lease = self.leases[which % len(self.leases)]
        self._wrote(
            self.store.put(self.prefix + key, value, lease=lease), {key: (value, lease.id)}, f"put({key!r}, lease=...)"
        )

    @rule(key=_KEYS, value=_VALUES)
    def put_if_absent(self, key: str, value: bytes) -> None:
        call = partial(self.store.put_if_absent, self.prefix + key, value)
        if key in self.model:
            self.check.raises(Conflict, call, f"put_if_absent({key!r}), which exists")
        else:
            did = f"put_if_absent({key!r}), which is missing"
            self._wrote(self._unrefused(call, did), {key: (value, None)}, did)

    @rule(key=_KEYS, value=_VALUES, stale=st.booleans())
    def replace(self, key: str, value: bytes, stale: bool) -> None:
        known = self.model.get(key)
        revision = known.mod_revision if known else self.revision
        if stale and known:
            revision = known.create_revision - 1 if known.create_revision else 0
        call = partial(self.store.put_if_unchanged, self.prefix + key, value, revision=revision)
        if known is None or revision != known.mod_revision:
            self.check.raises(Conflict, call, f"replace({key!r}, revision={revision}), now {known}")
        else:
            did = f"replace({key!r}) at its revision"
            self._wrote(self._unrefused(call, did), {key: (value, None)}, did)

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        committed = self.store.delete(self.prefix + key)
        self.check.equal(committed.deleted, int(key in self.model), f"delete({key!r}).deleted")
        self._wrote(committed, {key: None}, f"delete({key!r})")

    @rule(
        keys=st.lists(_KEYS, unique=True, min_size=1, max_size=4),
        puts=st.lists(st.one_of(st.none(), _VALUES), min_size=4, max_size=4),
        precondition=_KEYS,
        absent=st.booleans(),
    )
    def transact(self, keys: list[str], puts: list[bytes | None], precondition: str, absent: bool) -> None:
        transaction = self.store.transaction()
        (transaction.if_absent if absent else transaction.if_exists)(self.prefix + precondition)
        changes: dict[str, tuple[bytes, str | None] | None] = {}
        for key, value in zip(keys, puts, strict=False):
            changes[key] = None if value is None else (value, None)
            if value is None:
                transaction.delete(self.prefix + key)
            else:
                transaction.put(self.prefix + key, value)
        did = f"a transaction if {precondition!r} is {'absent' if absent else 'there'}: {changes}"
        if absent == (precondition in self.model):
            self.check.raises(Conflict, transaction.commit, did)
        else:
            self._wrote(self._unrefused(transaction.commit, did), changes, did)

    @rule(prefix=_PREFIXES)
    def delete_prefix(self, prefix: str) -> None:
        gone = [key for key in self.model if key.startswith(prefix)]
        self.did.append(f"delete_prefix({prefix!r})")
        self.check.equal(self.store.delete_prefix(self.prefix + prefix).deleted, len(gone), self.did[-1])
        for key in gone:
            del self.model[key]

    # -- leases --

    @initialize()
    def grant_first(self) -> None:
        self.grant()

    @precondition(lambda self: len(self.leases) < 3)
    @rule()
    def grant(self) -> None:
        self.leases.append(self.store.lease(min(600.0, self.store.capabilities.max_ttl)))

    @precondition(_has_leases)
    @rule(which=st.integers(0, 10))
    def revoke(self, which: int) -> None:
        lease = self.leases.pop(which % len(self.leases))
        self.did.append(f"revoke of the lease {lease.id}")
        lease.revoke()
        self.model = {key: item for key, item in self.model.items() if item.lease_id != lease.id}
        self.agree("")

    # -- looking --

    @rule(key=_KEYS)
    def get(self, key: str) -> None:
        self.check.equal(self._local(self.store.get(self.prefix + key)), self.model.get(key), f"get({key!r})")

    @rule(prefix=_PREFIXES, size=st.integers(1, 4))
    def scan(self, prefix: str, size: int) -> None:
        seen = [self._local(item) for item in self.store.scan(self.prefix + prefix, page_size=size)]
        self.check.equal(seen, self._expected(prefix), f"scan({prefix!r}, page_size={size})")

    @rule(prefix=_PREFIXES)
    def agree(self, prefix: str) -> None:
        seen = [self._local(item) for item in self.store.list(self.prefix + prefix)]
        self.check.equal(seen, self._expected(prefix), f"list({prefix!r})")

    def compare(self) -> None:
        """At the end of an example: check that the store, the model and a watcher agree."""
        self.agree("")
        last = self.store.put(self.prefix + "~", b"").revision
        self.follower.wait_for(self.prefix + "~", last, "wrote a last key")
        batches = self.follower.batches
        problems = write_history.check_convergence(batches, self.store.list(self.prefix))
        problems += write_history.check_order(batches) + write_history.check_kinds(batches, previous=False)
        self.check.no_problems(problems, "watched all this", expected="the same state in the end")

    def end(self) -> None:
        """Leave nothing behind."""
        try:
            for lease in self.leases:
                lease.revoke()
        finally:
            self.follower.close()

    # -- the model --

    def _expected(self, prefix: str) -> list[KeyValue]:
        keys = sorted((key for key in self.model if key.startswith(prefix)), key=str.encode)
        return [self.model[key] for key in keys]

    def _local(self, item: KeyValue | None) -> KeyValue | None:
        return item and item._replace(key=item.key.removeprefix(self.prefix))

    def _unrefused(self, call: Callable[[], CommitResult], did: str) -> CommitResult:
        try:
            return call()
        except Conflict as exc:
            raise self.check.fail(did, expected="it is applied", seen=f"Conflict: {exc}") from exc

    def _wrote(self, committed: CommitResult, changes: dict[str, Any], did: str) -> None:
        self.steps += 1
        self.did.append(did)
        effect = any(change is not None or key in self.model for key, change in changes.items())
        if effect:
            self.check.true(
                committed.revision > self.revision, did, expected=f"above {self.revision}", seen=committed.revision
            )
            self.revision = committed.revision
        for key, change in changes.items():
            known = self.model.pop(key, None)
            if change is not None:
                created = known.create_revision if known else committed.revision
                self.model[key] = KeyValue(key, change[0], created, committed.revision, change[1])
