"""A Hypothesis state machine that does random things to a store and to a dictionary, and compares.

Sequential, so every answer is known in advance: values, revisions, conflicts, leases, lists, what a watcher is
told. Hypothesis shrinks a failure to the shortest sequence that shows it.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from leasehold.conformance import history
from leasehold.conformance.follower import Follower
from leasehold.conformance.rules import Rules
from leasehold.conformance.world import World
from leasehold.errors import Conflict
from leasehold.leases import Lease
from leasehold.spi import Committed, KeyValue

EXAMPLES = 25
STEPS = 30

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,  # a store's speed isn't what is tested
    derandomize=True,  # the same examples in every run: a failure is a failure, not luck
    database=None,
    suppress_health_check=list(HealthCheck),
)

_KEYS = st.sampled_from(["a", "a/", "a/b", "a//b", "b", "%", "\u00e9", "a*", "\U0001f600"])
_PREFIXES = st.sampled_from(["", "a", "a/", "%", "\u00e9", "zzz"])
_VALUES = st.binary(max_size=20)


class ModelRules(Rules, area="model"):
    """Random sequences."""

    def test_model_agrees_with_a_dictionary(self, world: World) -> None:
        """Whatever sequence of operations is tried, the store answers as a dictionary with revisions would."""
        counter = itertools.count()
        steps = 0

        class Machine(_Machine):
            def __init__(self) -> None:
                super().__init__(world, f"{next(counter)}:")

            def teardown(self) -> None:
                nonlocal steps
                steps += self.steps
                super().teardown()

        run_state_machine_as_test(Machine, settings=PROFILE)
        world.check.enough(steps, EXAMPLES * STEPS // 4, "an operation of the state machine")


def _has_leases(machine: Any) -> bool:
    return bool(machine.leases)


class _Machine(RuleBasedStateMachine):
    """One example: works under a prefix of its own of the rule's namespace."""

    def __init__(self, world: World, prefix: str) -> None:
        super().__init__()
        self.steps = 0
        self.check = world.check
        self.store = world.store
        self.prefix = prefix
        self.model: dict[str, KeyValue] = {}
        self.leases: list[Lease] = []
        self.revision = 0
        self.writes = history.History()
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
            self._wrote(call(), {key: (value, None)}, f"put_if_absent({key!r})")

    @rule(key=_KEYS, value=_VALUES, stale=st.booleans())
    def replace(self, key: str, value: bytes, stale: bool) -> None:
        known = self.model.get(key)
        revision = known.mod_revision if known else self.revision
        if stale and known:
            revision = known.create_revision - 1 if known.create_revision else 0
        call = partial(self.store.replace, self.prefix + key, value, revision)
        if known is None or revision != known.mod_revision:
            self.check.raises(Conflict, call, f"replace({key!r}, revision={revision}), now {known}")
        else:
            self._wrote(call(), {key: (value, None)}, f"replace({key!r})")

    @rule(key=_KEYS)
    def delete(self, key: str) -> None:
        committed = self.store.delete(self.prefix + key)
        self.check.equal(committed.deleted, int(key in self.model), f"delete({key!r}).deleted")
        self._wrote(committed, {key: None}, f"delete({key!r})")

    @rule(
        keys=st.lists(_KEYS, unique=True, min_size=1, max_size=4),
        puts=st.lists(st.one_of(st.none(), _VALUES), min_size=4, max_size=4),
        guard=_KEYS,
        absent=st.booleans(),
    )
    def transact(self, keys: list[str], puts: list[bytes | None], guard: str, absent: bool) -> None:
        transaction = self.store.transaction()
        (transaction.if_absent if absent else transaction.if_exists)(self.prefix + guard)
        changes: dict[str, tuple[bytes, str | None] | None] = {}
        for key, value in zip(keys, puts, strict=False):
            changes[key] = None if value is None else (value, None)
            if value is None:
                transaction.delete(self.prefix + key)
            else:
                transaction.put(self.prefix + key, value)
        did = f"a transaction if {guard!r} is {'absent' if absent else 'there'}: {changes}"
        if absent == (guard in self.model):
            self.check.raises(Conflict, transaction.commit, did)
        else:
            self._wrote(transaction.commit(), changes, did)

    @rule(prefix=_PREFIXES)
    def delete_prefix(self, prefix: str) -> None:
        gone = [key for key in self.model if key.startswith(prefix)]
        self.check.equal(self.store.delete_prefix(self.prefix + prefix), len(gone), f"delete_prefix({prefix!r})")
        for key in gone:
            del self.model[key]

    # -- leases --

    @precondition(lambda self: len(self.leases) < 3)
    @rule()
    def grant(self) -> None:
        self.leases.append(self.store.lease(min(600.0, self.store.capabilities.max_ttl)))

    @precondition(_has_leases)
    @rule(which=st.integers(0, 10))
    def revoke(self, which: int) -> None:
        lease = self.leases.pop(which % len(self.leases))
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

    def teardown(self) -> None:
        try:
            self.agree("")
            last = self.store.put(self.prefix + "~", b"").revision
            self.follower.wait_for(self.prefix + "~", last, "wrote a last key")
            batches = self.follower.batches
            problems = history.check_convergence(batches, self.store.list(self.prefix))
            problems += history.check_order(batches) + history.check_kinds(batches, previous=False)
            self.check.no_problems(problems, "watched all this", expected="the same state in the end")
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

    def _wrote(self, committed: Committed, changes: dict[str, Any], did: str) -> None:
        self.steps += 1
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
