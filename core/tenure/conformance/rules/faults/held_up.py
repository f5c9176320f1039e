"""Rules about clients that are held up in the middle of a call: what others do meanwhile is seen, or refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tenure._client.store import Store
from tenure.conformance.checkers import write_history
from tenure.conformance.fault_injection.faults import RECOVERY, wait_for_effects
from tenure.conformance.fault_injection.held_up_client import HeldUpClient
from tenure.conformance.harness.assertions import EVENT_TIMEOUT
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, requires_capability, requires_control
from tenure.conformance.network import Direction
from tenure.conformance.rules.lists import fill
from tenure.conformance.workloads.recording_watcher import Follower
from tenure.errors import Compacted
from tenure.watch import Batch, BatchType, Watch

_WATCHED = 150
"""Keys of a watch; more than a plugin is likely to read at once."""
_APART = 20
"""Keys between the one that is deleted, the one that is put and the one that changes its lease; more than moments."""
_LISTED = tuple(f"l/{number}" for number in range(6))


class HeldUpRules(Rules, area="faults"):
    """Another client acts between any two requests of a call."""

    @requires_control("network")
    def test_faults_a_held_up_write_keeps_its_guard(self, context: RuleContext) -> None:
        """A conditional write that is held up spares a key that others made again meanwhile, with as many puts."""
        client = HeldUpClient(context)
        for name in _GUARDED:
            for passes in client.moments():
                _guarded(context, client, name, passes)
        client.require_effect()

    @requires_control("network")
    def test_faults_a_held_up_put_leaves_one_truth(self, context: RuleContext) -> None:
        """A put that is held up while others put or delete its key ends before or after them: one item, one lease."""
        client = HeldUpClient(context)
        context.store.put("p/", b"")  # the folder is there, so that a put begins with its key
        leases = {name: context.store.lease(context.long_ttl).id for name in ("mine", "theirs")}
        for race in _RACES:
            for passes in client.moments():
                _raced(context, client, race, passes, {**leases, "": None})
        client.require_effect()

    @requires_control("network")
    def test_faults_a_held_up_list_shows_what_stays(self, context: RuleContext) -> None:
        """A list that is held up shows each key that exists all the while, also one that changes its lease."""
        client, store = HeldUpClient(context), context.store
        lease = store.lease(context.long_ttl).id
        leased = _LISTED[::2]
        fill(store, _LISTED)
        for name, read in _READS.items():
            for passes in client.moments():
                leased = tuple(key for key in _LISTED if key not in leased)
                move = partial(_move, store, {key: lease if key in leased else None for key in _LISTED})
                did = f"{name} of keys that others put with another lease"
                held = client.call(partial(read, client.store), move, did, passes=passes)
                if held is not None and held.returned is not None:
                    context.check.equal(tuple(held.returned), _LISTED, held.did)
        client.require_effect()

    @requires_control("network")
    def test_faults_a_held_up_watch_misses_nothing(self, context: RuleContext) -> None:
        """A watch that is held up while it begins shows no key deleted before its revision, and misses no change."""
        client = HeldUpClient(context)
        fill(context.store, tuple(f"w/{number:03}" for number in range(_WATCHED)), b"old")
        lease = context.store.lease(context.long_ttl).id
        for passes in client.moments():
            _watched(context, client, lease, passes)
        client.require_effect()

    @requires_capability("lossless_watch")
    @requires_control("network", "compact")
    def test_faults_a_held_up_watcher_learns_of_dropped_history(self, context: RuleContext) -> None:
        """A watch held up while the store drops its history ends with the true state, by all changes or a RESYNC."""
        network, store = context.another_network(), context.store
        for key in ("w/changed", "w/deleted", "w/same"):
            store.put(key, b"1")
        watch = context.connect(through=network).watch("w/", previous=True)
        with Follower(context.check, watch) as follower, context.evidence.fault("held up") as window:
            window.what = "bytes of answers held back"
            follower.wait_in_sync()
            stands = store.put("w/stands", b"").revision
            follower.wait_for("w/stands", stands, "put a key that is watched")
            with network.black_hole(Direction.DOWN) as hole:
                store.put("w/changed", b"2")
                wait_for_effects(hole, 1, RECOVERY)
                store.delete("w/deleted")
                store.put("w/changed", b"3")
                context.controls.do("compact")
                store.put("w/new", b"3")
                window.effects = hole.effects
            context.check.enough(_is_dropped(store, stands), 1, "history dropped by the control 'compact'")
            did = "held a watch up, and dropped the history meanwhile"
            follower.wait_for("w/~last", store.put("w/~last", b"").revision, did, within=RECOVERY)
            batches = list(follower.batches)
        context.check.enough(window.effects, 1, "an answer to a watch that was held back")
        problems = write_history.check_convergence(batches, store.list("w/")) + write_history.check_order(batches)
        problems += write_history.check_kinds(batches, previous=True)
        context.check.no_problems(problems, did, expected="the true state")


# -- guards -------------------------------------------------------------------------------------------

_GUARDED: dict[str, Callable[[Store, str, int], object]] = {
    "put_if_unchanged": lambda store, key, revision: store.put_if_unchanged(key, b"mine", revision=revision),
    "delete": lambda store, key, revision: store.delete(key, revision=revision),
    "transaction": lambda store, key, revision: (
        store.transaction().if_unchanged(key, revision=revision).put(key, b"mine").put(f"{key} too", b"mine").commit()
    ),
}


def _guarded(context: RuleContext, client: HeldUpClient, name: str, passes: int) -> None:
    """Hold up a conditional write at this moment."""
    key = f"{name}/{passes}"
    revision = context.store.put(key, b"old").revision
    client.store.get(key)

    def make_again() -> None:
        context.store.delete(key)
        context.store.put(key, b"again")

    write = partial(_GUARDED[name], client.store, key, revision)
    held = client.call(write, make_again, f"{name} at the revision of a key that others made again", passes=passes)
    if held is not None:
        item = context.store.get(key)
        context.check.equal(item and item.value, b"again", f"{held.did}; the value afterwards")


# -- puts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Race:
    """A put that is held up, and what another client does to its key. Leases by name; ``""`` is no lease."""

    first: str | None
    """The lease of the key before; ``None``: there is no key."""
    mine: str
    theirs: tuple[str | None, ...]
    """The leases of the other client's puts; ``None``: a delete."""

    def __str__(self) -> str:
        lease = "with" if self.mine else "without"
        acts = " and ".join(
            "deleted it" if each is None else f"put it {'with' if each else 'without'} one" for each in self.theirs
        )
        existed = "was absent" if self.first is None else "existed"
        return f"a put {lease} a lease of a key that {existed}; others {acts}"


_RACES = (
    _Race(None, "mine", ("",)),
    _Race(None, "", ("theirs",)),
    _Race("", "mine", (None, "")),
    _Race("theirs", "", (None, "theirs")),
    _Race("", "mine", (None,)),
)

_Write = tuple[int, bytes | None, str | None]
"""The revision of a write, its value (``None``: a delete) and the lease."""


def _raced(context: RuleContext, client: HeldUpClient, race: _Race, passes: int, leases: dict[str, str | None]) -> None:
    """Hold up a put at this moment."""
    store = context.store
    key = f"p/{_RACES.index(race)}-{passes:02}"
    writes: list[_Write] = []
    if race.first is not None:
        writes.append((store.put(key, b"first", lease=leases[race.first]).revision, b"first", leases[race.first]))

    def act() -> None:
        for lease in race.theirs:
            if lease is None:
                writes.append((store.delete(key).revision, None, None))
            else:
                writes.append((store.put(key, b"theirs", lease=leases[lease]).revision, b"theirs", leases[lease]))

    put = partial(client.store.put, key, b"mine", lease=leases[race.mine])
    held = client.call(put, act, str(race), passes=passes)
    if held is None:
        store.delete(key)
        return
    item = store.get(key)
    if held.returned is not None:
        writes.append((held.returned.revision, b"mine", leases[race.mine]))
        seen = item and (item.value, item.lease_id, item.create_revision, item.mod_revision)
        context.check.equal(seen, _after(writes), f"{held.did}; value, lease and revisions of the key afterwards")
    listed = store.list(key).items
    context.check.equal(listed, () if item is None else (item,), f"{held.did}; a list against a get")
    store.delete(key)
    left = (store.get(key), store.list(key).keys)
    context.check.equal(left, (None, ()), f"{held.did}; then the key was deleted: get and list")


def _after(writes: Sequence[_Write]) -> tuple[bytes, str | None, int, int] | None:
    """The item that these writes leave, in the order of their revisions."""
    created, last = 0, None
    for revision, value, lease in sorted(writes, key=lambda write: write[0]):
        if value is None:
            last = None
            continue
        created = revision if last is None else created
        last = value, lease, created, revision
    return last


# -- lists --------------------------------------------------------------------------------------------

_READS: dict[str, Callable[[Store], Sequence[str]]] = {
    "list": lambda store: store.list("l/").keys,
    "list without values": lambda store: store.list("l/", keys_only=True).keys,
    "scan": lambda store: [item.key for item in store.scan("l/", page_size=4)],
    "get of several keys": lambda store: [item.key for item in store.get_many(_LISTED).items if item is not None],
}


def _move(store: Store, leases: dict[str, str | None]) -> None:
    """Put all keys, each with its lease, in one transaction."""
    transaction = store.transaction()
    for key, lease in leases.items():
        transaction.put(key, b"", lease=lease)
    transaction.commit()


# -- watches ------------------------------------------------------------------------------------------


def _watched(context: RuleContext, client: HeldUpClient, lease: str, passes: int) -> None:
    """Hold up the beginning of a watch at this moment."""
    store = context.store
    gone, *kept = (f"w/{passes + start:03}" for start in (0, _APART, 2 * _APART))
    deleted = 0
    put: dict[str, int] = {}

    def act() -> None:
        nonlocal deleted
        deleted = store.delete(gone).revision
        put[f"w/{passes:03} made"] = store.put(f"w/{passes:03} made", b"new").revision
        put[kept[0]] = store.put(kept[0], b"new").revision
        put[kept[1]] = store.put(kept[1], b"old", lease=lease).revision

    held = client.call(partial(_begun, client.store), act, "began a watch of many keys", passes=passes)
    if held is None or held.returned is None:
        return
    watch, begun = held.returned
    last = store.put("w/~last", b"%d" % passes).revision
    with Follower(context.check, watch) as follower:
        follower.wait_for("w/~last", last, held.did)
        batches = [*begun, *follower.batches]
    problems = write_history.check_convergence(batches, store.list("w/")) + write_history.check_order(batches)
    problems += write_history.check_kinds(batches, previous=False) + _beginning(begun[0], gone, deleted, put)
    context.check.no_problems(
        problems, held.did, expected="a state that is true at its revision, and all changes since"
    )


def _begun(store: Store) -> tuple[Watch, list[Batch]]:
    """A watch and its batches up to when it is in sync."""
    watch = store.watch("w/")
    batches: list[Batch] = []
    while not batches or batches[-1].type is not BatchType.SYNCED:
        batch = watch.next(EVENT_TIMEOUT)
        if batch is None:
            watch.close()
            break
        batches.append(batch)
    return watch, batches


def _beginning(first: Batch, gone: str, deleted: int, put: dict[str, int]) -> list[str]:
    """What is wrong with the state that a watch began with, given writes that were made meanwhile."""
    shown = {event.key: event.revision for event in first.events}
    problems = [
        f"it begins at {first.revision} without the put of {key!r} at {revision}"
        for key, revision in put.items()
        if revision <= first.revision and shown.get(key, 0) < revision
    ]
    if gone in shown and deleted <= first.revision:
        problems.append(f"it begins at {first.revision} with {gone!r}, which was deleted at {deleted}")
    return problems


def _is_dropped(store: Store, revision: int) -> bool:
    """Whether the store no longer has the changes after a revision."""
    try:
        with store.watch("w/", after=revision) as watch:
            watch.next(EVENT_TIMEOUT)
    except Compacted:
        return True
    return False
