"""What a task does until it is cancelled: each call and recipe of the asyncio face. It notes things for the judgement.

An act takes what it needs of the loop from anyio, so that it runs on each.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio

import tenure
from tenure import aio
from tenure.errors import ServiceNotFound
from tenure.registry import Instance
from tenure_testkit.waiting import PATIENCE

TTL = 10.0
"""Seconds of the sessions and leases here. What is held on one that nobody gives back stays longer than the trial."""
WAIT = 0.3
"""Seconds that an act waits for others."""
LIMIT = 2
_PARTITIONS = 3
_PARTY = 2
_MANY = 10**6


@dataclass(slots=True)
class Notes:
    """What the acts of one store saw."""

    problems: list[str] = field(default_factory=list)
    inside: Counter[str] = field(default_factory=Counter)
    added: Counter[str] = field(default_factory=Counter)
    """Additions that were tried, and those that returned."""
    ids: Counter[int] = field(default_factory=Counter)
    put: set[bytes] = field(default_factory=set)
    """Items whose put returned."""
    results: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    runs: Counter[str] = field(default_factory=Counter)
    numbers: int = 0

    def number(self) -> int:
        """Return a number that no other act has."""
        self.numbers += 1
        return self.numbers


@dataclass(slots=True)
class Caller:
    """What an act uses."""

    store: aio.Store
    url: str
    chance: random.Random
    notes: Notes

    async def stay(self) -> None:
        """Work for a moment."""
        await anyio.sleep(self.chance.choice((0.0, 0.0, 0.002, 0.02)) * self.chance.random())


Act: TypeAlias = Callable[[Caller], Awaitable[object]]


async def _hold(caller: Caller, what: str, one: aio.Lock | aio.Semaphore | aio.MultiLock, most: int = 1) -> None:
    async with one.hold(timeout=WAIT) as held:
        await _inside(caller, what, held, most)


async def _inside(caller: Caller, what: str, held: aio.Held, most: int = 1, weight: int = 1) -> None:
    """Be where at most ``most`` may be, as long as the holder may rely on it."""
    notes = caller.notes
    if not held.held:
        return
    notes.inside[what] += weight
    try:
        if notes.inside[what] > most:
            notes.problems.append(f"{what}: {notes.inside[what]} are inside, and {most} may be")
        await caller.stay()
    finally:
        notes.inside[what] -= weight


async def read(caller: Caller) -> None:
    """Calls that read."""
    store = caller.store
    await store.get("a")
    await store.get_many(["a", "b"])
    await store.list("", limit=5)
    [item async for item in store.scan("a", page_size=1)]
    await store.server_info()


async def write(caller: Caller) -> None:
    """Calls that write a key of one's own, and read it back."""
    store, key = caller.store, f"own/{caller.notes.number()}"
    try:
        first = await store.put_if_absent(key, b"1")
        await store.put_if_unchanged(key, b"2", revision=first.revision)
        item = await store.get(key)
        if item is None or item.value != b"2":
            caller.notes.problems.append(f"{key}: read {item} after 2 was written")
        await store.delete(key)
        await store.put(key, b"3")
        if caller.chance.random() < 0.2:
            await store.delete_prefix(f"{key}/")
    except tenure.Conflict as exc:
        caller.notes.problems.append(f"{key}: a conflict on a key that nobody else writes: {exc}")


async def transaction(caller: Caller) -> None:
    """A transaction: both keys, or none."""
    number = b"%d" % caller.notes.number()
    await caller.store.transaction().put("pair/a", number).put("pair/b", number).commit()
    found = {item.key: item.value for item in await caller.store.list("pair/")}
    if len(set(found.values())) > 1 or len(found) == 1:
        caller.notes.problems.append(f"half of a transaction: {found}")


async def lease(caller: Caller) -> None:
    """A lease with a key, refreshed, described and revoked."""
    store = caller.store
    async with store.lease(TTL) as held:
        await store.put(f"leased/{caller.notes.number()}", b"", lease=held)
        await held.refresh()
        await store.describe_lease(held.id)
        if caller.chance.random() < 0.3:
            await store.revoke_lease(held.id)
            return
        await caller.stay()


async def watch(caller: Caller) -> None:
    """A watch that is read, and one with a callback."""
    async with caller.store.watch("", callback=lambda batch: None), caller.store.watch("own/") as one:
        for _ in range(caller.chance.randrange(1, 4)):
            await one.next(WAIT)
    async with caller.store.watch("a", exact=True) as one:
        async for batch in one:
            if batch.type is not tenure.BatchType.SNAPSHOT:
                return


async def connect(caller: Caller) -> None:
    """Another store, opened and closed."""
    async with aio.connect(caller.url, timeout=caller.store.timeout) as store:
        await store.get("a")


async def session(caller: Caller) -> None:
    """A session of one's own, with something on it."""
    async with aio.Session.open(caller.store, ttl=TTL) as mine:
        name = f"own/{caller.notes.number()}"
        await _hold(caller, name, aio.Lock(caller.store, name, session=mine))


async def lock(caller: Caller) -> None:
    """A lock, fair or not."""
    fair = caller.chance.random() < 0.6
    one = aio.Lock(caller.store, f"lock {fair}", fair=fair)
    if caller.chance.random() < 0.3:
        held = await one.try_acquire()
        if held is not None:
            try:
                await _inside(caller, f"lock {fair}", held)
            finally:
                await held.release()
        return
    await _hold(caller, f"lock {fair}", one)


async def locks(caller: Caller) -> None:
    """Several locks."""
    await _hold(caller, "locks", aio.MultiLock(caller.store, ["x", "y"]))


async def read_write(caller: Caller) -> None:
    """Both sides of a read-write lock, and the way down."""
    one = aio.ReadWriteLock(caller.store, "rw")
    if caller.chance.random() < 0.5:
        async with one.read.hold(timeout=WAIT) as held:
            await _inside(caller, "rw", held, _MANY)
        return
    async with one.write.hold(timeout=WAIT) as held:
        await _inside(caller, "rw", held, _MANY, _MANY)
        if caller.chance.random() < 0.5:
            lower = await one.downgrade()
            await lower.release()


async def semaphore(caller: Caller) -> None:
    """Permits."""
    await _hold(caller, "permits", aio.Semaphore(caller.store, "permits", limit=LIMIT), LIMIT)


async def election(caller: Caller) -> None:
    """A candidate, and an observer."""
    one = aio.Election(caller.store, "leader", candidate=f"c{caller.notes.number()}")
    async with one.observe() as leaders:
        await leaders.next(PATIENCE)
    async with one.lead(timeout=WAIT) as held:
        await _inside(caller, "leader", held)
        if caller.chance.random() < 0.3:
            await one.hand_over("nobody")


async def gate(caller: Caller) -> None:
    """A gate, passed by the holder of a lock."""
    async with aio.Lock(caller.store, "gated").hold(timeout=WAIT) as held:
        fence = await held.fence()
        one = aio.Gate(caller.store, "gate")
        try:
            await one.admit(fence)
            await (await one.guard(caller.store.transaction().put("behind", b""), fence)).commit()
        except tenure.Conflict as exc:
            if held.held:
                caller.notes.problems.append(f"the gate refused the present holder: {exc}")


async def produce(caller: Caller) -> None:
    """An item for the queue."""
    item = b"%d" % caller.notes.number()
    await aio.WorkQueue(caller.store, "work", max_attempts=_MANY).put(item)
    caller.notes.put.add(item)


async def consume(caller: Caller) -> None:
    """An item is done: its effect is part of the acknowledgement, and can be written once."""
    claim = await aio.WorkQueue(caller.store, "work", max_attempts=_MANY).claim(timeout=WAIT)
    if claim is None:
        return
    if caller.chance.random() < 0.3:
        async with claim:
            await caller.stay()
            raise _GiveBackError
    try:
        await caller.stay()
        effect = f"effects/{claim.value.decode()}"
        await claim.ack(caller.store.transaction().if_absent(effect).put(effect, b""))
    except BaseException:
        await claim.release()
        raise


class _GiveBackError(Exception):
    """Ends the block of a claim."""


async def count(caller: Caller) -> None:
    """A number, a value, ids and a transaction."""
    caller.notes.added["tried"] += 1
    await aio.Counter(caller.store, "count").add()
    caller.notes.added["done"] += 1
    await aio.AtomicValue(caller.store, "value").update(lambda value: b"%d" % (int(value or 0) + 1))
    caller.notes.ids[await aio.IdBlock(caller.store, "ids", size=2).next()] += 1

    def move(view: tenure.TransactView) -> None:
        view.put("moved", b"%d" % (int(view.get("moved") or 0) + 1))

    await aio.transact(caller.store, move)


async def pace(caller: Caller) -> None:
    """Permits for a rate, and a schedule."""
    await aio.RateLimiter(caller.store, "rate", rate=1000).acquire(timeout=WAIT)
    await aio.Schedule(caller.store, "clean", 1).take(timeout=WAIT)


async def once(caller: Caller) -> None:
    """Something that is done once."""
    name = f"run-{caller.notes.numbers // 200}"

    async def function(held: aio.Held) -> bytes:
        await _inside(caller, name, held)
        caller.notes.runs[name] += 1
        return b"%d" % held.token

    caller.notes.results[name].add(await aio.once(caller.store, name, function, timeout=WAIT))


async def meet(caller: Caller) -> None:
    """A round of a double barrier."""
    member = aio.DoubleBarrier(caller.store, "round", count=_PARTY)
    await member.enter(timeout=WAIT)
    await member.leave(timeout=WAIT)


async def wait(caller: Caller) -> None:
    """A barrier and a latch."""
    number = caller.notes.number()
    barrier, latch = aio.Barrier(caller.store, f"gate-{number}"), aio.CountDownLatch(caller.store, "latch", count=2)
    await barrier.close()
    try:
        await barrier.wait(timeout=0.01)
    except tenure.WaitTimeout:
        pass
    finally:
        with anyio.CancelScope(shield=True):
            await barrier.open()
    await latch.count_down()
    await latch.wait(timeout=WAIT)
    await latch.reset()


async def group(caller: Caller) -> None:
    """A member that joins, is seen, and leaves."""
    one = aio.Group(caller.store, "crew")
    async with one.watch() as changes:
        await changes.next(PATIENCE)
    name = f"m{caller.notes.number()}"
    async with one.join(member=name) as membership:
        if membership.held and name not in [member.name for member in await one.members()] and membership.held:
            caller.notes.problems.append(f"{name} has joined, and is no member")


async def partitions(caller: Caller) -> None:
    """A member that owns partitions for a while."""

    async def stop(partition: int, held: aio.Held) -> None:
        await caller.stay()

    async with aio.Partitioner(caller.store, "shards", partitions=_PARTITIONS, on_release=stop) as mine:
        await mine.wait(timeout=WAIT)
        for number, held in mine.owned.items():
            await _inside(caller, f"partition {number}", held)


async def persistent_key(caller: Caller) -> None:
    """A key that comes back."""
    async with aio.PersistentKey(caller.store, f"up/{caller.notes.number()}", b"", ttl=TTL):
        await caller.stay()


async def settings(caller: Caller) -> None:
    """Views."""
    key = f"settings/{caller.notes.number()}"
    async with aio.CachedValue(caller.store, key, codec=tenure.JSON, default=0) as value:
        value.on_change(lambda _: None)
        await value.set(1)
        if value.value != 1:
            caller.notes.problems.append(f"{key}: {value.value} was read after 1 was set")
    async with aio.CachedPrefix(caller.store, f"{key}/", codec=tenure.TEXT) as view:
        await view.set("x", "y")
        await view.delete("x")


async def bus(caller: Caller) -> None:
    """A message to oneself and others."""
    one = aio.Bus(caller.store, "news", codec=tenure.TEXT, max_messages=5)
    text = str(caller.notes.number())
    async with one.subscribe() as messages:
        await one.publish(text)
        while (await messages.next(PATIENCE)).value != text:
            pass


async def registry(caller: Caller) -> None:
    """An instance that comes and goes."""
    name = f"web{caller.notes.number()}"
    async with aio.Registry(caller.store, instance=Instance(name, port=80)) as one:
        await one.wait_for(name, timeout=WAIT)
        await one.drain()


ACTS: Mapping[str, Act] = {
    act.__name__: act
    for act in (
        *(read, write, transaction, lease, watch, connect),
        *(session, lock, locks, read_write, semaphore, election, gate, produce, consume, count, pace, once, meet, wait),
        *(group, partitions, persistent_key, settings, bus, registry),
    )
}

EXPECTED = (
    *(tenure.Unavailable, tenure.OutcomeUnknown, tenure.LeaseLost, tenure.LeaseNotFound),
    *(tenure.WaitTimeout, ServiceNotFound),
)
"""What a fault may do to a call, and a wait that nobody ends."""
ENDS = (*EXPECTED, _GiveBackError)
"""How an act may end."""
