"""What a thread does with each recipe, and what it notes for the judgement."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import tenure

if TYPE_CHECKING:
    from tenure_testkit.recipe_faults.worker import Caller

Act: TypeAlias = Callable[["Caller"], object]

NAMES = ("a", "b")
PERMITS = 2
PARTITIONS = 3
PARTY = 2
MANY = 10**6
"""Attempts that are never used up: an item that nobody does is lost."""


def _holds(caller: Caller) -> float:
    return caller.chance.choice((0.0, 0.02, 0.3)) * caller.chance.random()


def _use(caller: Caller, what: str, one: tenure.Lock | tenure.Semaphore, resource: str, *, most: int = 1) -> None:
    """Acquire, write something guarded while it is held, and release."""
    timeout = caller.timeout()
    tries = caller.chance.random() < 0.3
    call = one.try_acquire if tries else one.acquire
    _, held = caller.call(f"{what} {call.__name__}", lambda: call(timeout=timeout), timeout)
    if held is not None:
        _hold(caller, what, held, resource, most=most)


def _hold(caller: Caller, what: str, held: tenure.Held, resource: str, *, most: int = 1, weight: int = 1) -> None:
    caller.held(resource, held, _holds(caller), most, weight)
    if most == 1:
        _guarded(caller, held, resource)
        caller.held(resource, held, _holds(caller), most, weight)
    timeout = caller.timeout()
    caller.call(f"{what} release", lambda: held.release(timeout=timeout), timeout)


def _guarded(caller: Caller, held: tenure.Held, resource: str) -> None:
    """Write the token under the holder's guard. A refusal means that the lock was lost."""

    def write() -> tenure.CommitResult | None:
        transaction = caller.store.transaction().put(f"guarded/{resource}", str(held.token).encode())
        try:
            return held.guard(transaction).commit()
        except tenure.Conflict:
            return None

    done, result = caller.call("guarded write", write, 2.0)
    if done and result is not None:
        caller.write(kind="guarded", lock=resource, token=held.token, revision=result.revision)


def fair(caller: Caller) -> None:
    """A fair lock."""
    name = caller.chance.choice(NAMES)
    _use(caller, "lock", tenure.Lock(caller.store, name, session=caller.session()), f"lock/{name}")


def unfair(caller: Caller) -> None:
    """A lock for which all race."""
    one = tenure.Lock(caller.store, "race", session=caller.session(), fair=False)
    _use(caller, "unfair lock", one, "lock/race")


def locks(caller: Caller) -> None:
    """Two locks at once: each of them excludes the others' single ones."""
    one = tenure.MultiLock(caller.store, NAMES, session=caller.session())
    timeout = caller.timeout()
    _, held = caller.call("locks acquire", lambda: one.acquire(timeout=timeout), timeout)
    if held is None:
        return
    tokens = one.tokens
    for name in NAMES:
        if name in tokens:
            caller.held(f"lock/{name}", _Named(held, tokens[name]), 0.0)  # type: ignore[arg-type]
    _guarded(caller, held, "locks")
    caller.call("locks release", lambda: held.release(timeout=timeout), timeout)


class _Named:
    """What is held of several, under the token of one name."""

    def __init__(self, held: tenure.Held, token: int) -> None:
        self._held = held
        self.token = token

    @property
    def held(self) -> bool:
        return self._held.held


def read_write(caller: Caller) -> None:
    """A read-write lock: readers together, a writer alone."""
    one = tenure.ReadWriteLock(caller.store, "rw", session=caller.session())
    timeout, writes = caller.timeout(), caller.chance.random() < 0.4
    side = one.write if writes else one.read
    _, held = caller.call("read-write acquire", lambda: side.acquire(timeout=timeout), timeout)
    if held is None:
        return
    if writes and caller.chance.random() < 0.3:
        caller.held("lock/rw", held, _holds(caller), MANY, MANY)
        _, lower = caller.call("downgrade", lambda: one.downgrade(timeout=timeout), timeout)
        if lower is not None:
            _hold(caller, "read-write", lower, "lock/rw", most=MANY)
            return
        caller.call("read-write release", lambda: held.release(timeout=timeout), timeout)
        return
    _hold(caller, "read-write", held, "lock/rw", most=MANY, weight=MANY if writes else 1)


def semaphore(caller: Caller) -> None:
    """Permits."""
    one = tenure.Semaphore(caller.store, "permits", limit=PERMITS, session=caller.session())
    _use(caller, "semaphore", one, "semaphore", most=PERMITS)


def election(caller: Caller) -> None:
    """An election, whose leader hands over now and then."""
    one = tenure.Election(caller.store, "leader", candidate=caller.name, session=caller.session())
    timeout = caller.timeout()
    _, held = caller.call("campaign", lambda: one.campaign(timeout=timeout), timeout)
    if held is None:
        return
    caller.held("election", held, _holds(caller))
    _guarded(caller, held, "election")
    if caller.chance.random() < 0.3:
        heir = caller.chance.choice([f"p1.{number}" for number in range(4)])
        caller.call("hand over", lambda: one.hand_over(heir, timeout=timeout), timeout)
    caller.call("election release", lambda: held.release(timeout=timeout), timeout)


def produce(caller: Caller) -> None:
    """Put an item."""
    queue = tenure.WorkQueue(caller.store, "work", max_attempts=MANY, session=caller.session())
    item, timeout = uuid.uuid4().hex, caller.timeout()
    caller.write(kind="item", item=item, how="try")
    done, _ = caller.call("put", lambda: queue.put(item.encode(), timeout=timeout), timeout)
    caller.write(kind="item", item=item, how="done" if done else "unknown" if caller.unknown else "refused")


def consume(caller: Caller) -> None:
    """Do an item: its effect is part of the acknowledgement, and can be written once."""
    queue = tenure.WorkQueue(caller.store, "work", max_attempts=MANY, session=caller.session())
    timeout = caller.timeout()
    _, claim = caller.call("claim", lambda: queue.claim(timeout=timeout), timeout)
    if claim is None:
        return
    item = claim.value.decode()
    caller.held(f"item/{item}", claim, _holds(caller))
    if caller.chance.random() < 0.2:
        caller.call("give back", lambda: claim.release(timeout=timeout), timeout)
        return
    effect = caller.store.transaction().if_absent(f"effects/{item}").put(f"effects/{item}", caller.name.encode())
    timeout = caller.timeout()
    done, _ = caller.call("ack", lambda: claim.ack(effect, timeout=timeout), timeout)
    caller.write(kind="item", item=item, how="acknowledged" if done else "unclear")
    if not done:
        caller.call("give back", lambda: claim.release(timeout=timeout), timeout)


def count(caller: Caller) -> None:
    """Add to a counter."""
    counter, timeout = tenure.Counter(caller.store, "count"), caller.timeout()
    caller.write(kind="count", key=counter.key, how="try")
    done, _ = caller.call("add", lambda: counter.add(timeout=timeout), timeout)
    how = "done" if done else "unknown" if caller.unknown else "refused"
    caller.write(kind="count", key=counter.key, how=how)


def once(caller: Caller) -> None:
    """Run something once: of several runs one is kept, and all get its result."""
    name, timeout = f"run-{int(time.time() / 5)}", caller.timeout()

    def function(held: tenure.Held) -> bytes:
        caller.held(f"once/{name}", held, _holds(caller))
        return str(held.token).encode()

    session = caller.session()
    # Keeping the result takes as long as the session lives, which another refresh prolongs.
    lives = 10.0 if session is None else session.lease.ttl
    done, result = caller.call(
        "once", lambda: tenure.once(caller.store, name, function, timeout=timeout, session=session), timeout + lives
    )
    if done:
        caller.write(kind="once", name=name, result=result.decode())


def share(caller: Caller) -> None:
    """Be a member that owns partitions for a while."""
    one = tenure.Partitioner(caller.store, "shares", partitions=PARTITIONS, session=caller.session())
    for _ in range(caller.chance.randrange(1, 6)):
        timeout = caller.timeout()
        caller.call("partitioner wait", partial(one.wait, timeout=timeout), timeout)
        for number, held in one.owned.items():
            caller.held(f"partition/{number}", held, 0.02)
    timeout = caller.timeout()
    caller.call("partitioner close", lambda: one.close(timeout=timeout), timeout)


def meet(caller: Caller) -> None:
    """Enter and leave a double barrier."""
    one = tenure.DoubleBarrier(caller.store, "party", count=PARTY, session=caller.session())
    timeout = caller.timeout()
    done, _ = caller.call("enter", lambda: one.enter(timeout=timeout), timeout)
    if done:
        caller.call("leave", lambda: one.leave(timeout=timeout), timeout)


def view(caller: Caller) -> None:
    """Set a value that others have a view of; read one's own write."""
    key = f"values/{caller.name}"
    opened, value = caller.call(
        "open value", lambda: tenure.CachedValue(caller.store, key, codec=tenure.TEXT, timeout=2.0), 2.0
    )
    if not opened:
        return
    for _ in range(3):
        text, timeout = uuid.uuid4().hex, caller.timeout()
        done, _ = caller.call("set", partial(value.set, text, timeout=timeout), timeout)
        if done and value.value != text and not caller.counts["set OutcomeUnknown"]:
            caller.problems.append(f"{key}: {value.value} was read after {text} was written")
    value.close()


ACTS: Mapping[str, Act] = {
    act.__name__: act
    for act in (
        fair,
        unfair,
        locks,
        read_write,
        semaphore,
        election,
        produce,
        consume,
        count,
        once,
        share,
        meet,
        view,
    )
}
