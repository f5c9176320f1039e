"""The same operations on this store and on the memory store, which is the contract as a program."""

from __future__ import annotations

import random
import re

import pytest

from tenure._runtime.clock import ManualClock
from tenure.errors import TenureError
from tenure.spi import (
    Changes,
    Delete,
    KeyAbsent,
    KeyExists,
    ListRequest,
    OpenRequest,
    Put,
    RevisionEquals,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_memory.servers import open_backend as open_memory

T = 10.0
KEYS = ["a", "a/b", "a//b", "a0", "b", "b/\U0010ffff", "ä", "\U0001f600"]
PREFIXES = ["", "a", "a/", "b/\U0010ffff", "z"]


class Pair:
    """One store, and what names the same thing in it: lease ids and revisions differ from store to store.

    ``revisions`` are those that were shown, in the order in which they came up first.
    """

    def __init__(self, backend):
        self.backend = backend
        self.leases = []
        self.revisions = {}

    def do(self, call):
        """The answer or the type of the error, in words that are the same for both stores."""
        try:
            return self.plain(call(self.backend, self.leases, list(self.revisions)))
        except TenureError as exc:
            return type(exc), self.plain(f"revision={getattr(exc, 'revision', None)}")

    def plain(self, answer):
        numbers = {lease: f"lease {number}" for number, lease in enumerate(self.leases)}
        text = re.sub(r"(?<=revision=)\d+", self._name_revision, repr(answer))
        for lease, number in numbers.items():
            text = text.replace(repr(lease), number)
        return text

    def _name_revision(self, found):
        return str(self.revisions.setdefault(int(found[0]), len(self.revisions)))


def random_call(rng, known):
    """One operation as a function of a backend and its leases, the same for both stores."""
    key, other, prefix = rng.choice(KEYS), rng.choice(KEYS), rng.choice(PREFIXES)
    lease = rng.randrange(known + 1) if known and rng.random() < 0.5 else None
    kind = rng.choices(
        [
            "get",
            "get many",
            "list",
            "put",
            "guarded",
            "delete",
            "delete prefix",
            "grant",
            "refresh",
            "revoke",
            "leases",
        ],
        [4, 2, 4, 8, 6, 4, 0.5, 2, 2, 1, 2],
    )[0]
    value, limit, seen = rng.randbytes(rng.randrange(5)), rng.choice([None, 1, 3]), rng.randrange(1, 60)
    precondition = rng.choice([KeyAbsent, KeyExists, RevisionEquals])
    after = rng.choice([None, key])

    def named(leases):
        if lease is None:
            return None
        return leases[lease] if lease < len(leases) else "nobody"

    def guard(revisions):
        if precondition is not RevisionEquals:
            return (precondition(other),) * 2
        return (RevisionEquals(other, revisions[-seen % len(revisions)] if revisions else seen),) * 2

    def commit(backend, preconditions, *operations):
        return backend.commit(Transaction(preconditions, operations), timeout=T)

    return {
        "get": lambda backend, leases, revisions: backend.get(key, timeout=T),
        "get many": lambda backend, leases, revisions: backend.get_many(
            [key, other, "missing"][key == other :], timeout=T
        ),
        "delete prefix": lambda backend, leases, revisions: backend.delete_prefix(prefix, timeout=T),
        "list": lambda backend, leases, revisions: backend.list(
            ListRequest(prefix=prefix, after=after, limit=limit), timeout=T
        ),
        "put": lambda backend, leases, revisions: commit(backend, (), Put(key, value, named(leases))),
        "guarded": lambda backend, leases, revisions: commit(
            backend,
            guard(revisions),
            Put(key, value, named(leases)),
            *([Delete(other)] if other != key else []),
        ),
        "delete": lambda backend, leases, revisions: commit(
            backend, (), *(Delete(name) for name in {key: 0, other: 0})
        ),
        "grant": lambda backend, leases, revisions: leases.append(backend.grant(float(seen), timeout=T).lease_id),
        "refresh": lambda backend, leases, revisions: sorted(
            (leases.index(name), ttl) for name, ttl in backend.refresh([named(leases) or "x"], timeout=T).items()
        ),
        "revoke": lambda backend, leases, revisions: len(backend.revoke([named(leases) or "x"], timeout=T)),
        "leases": lambda backend, leases, revisions: sorted(
            (leases.index(info.lease_id), info.ttl, info.remaining, info.keys)
            for info in backend.leases(None, timeout=T)
        ),
    }[kind]


@pytest.mark.parametrize("seed", range(8))
def test_both_answer_the_same(open_store, clock: ManualClock, sink, another_sink, seed):
    rng = random.Random(seed)
    memory = open_memory(
        OpenRequest(url="memory://", variants=frozenset(), options={"history": None}, timeout=T, clock=clock)
    )
    pairs = [Pair(open_store(clock=clock)), Pair(memory)]
    for pair, its_sink in zip(pairs, (sink, another_sink), strict=True):
        pair.backend.watch(WatchRequest(prefix="a"), sink=its_sink, timeout=T)
    for step in range(300):
        if rng.random() < 0.1:
            clock.jump(rng.random() * 10)
            for pair in pairs:
                pair.backend.get("a", timeout=T)
                pair.backend.list(ListRequest(prefix="", limit=1), timeout=T)
        else:
            call = random_call(rng, len(pairs[0].leases))
            ours, expected = (pair.do(call) for pair in pairs)
            assert ours == expected, step
    for pair in pairs:
        pair.last = pair.backend.commit(Transaction((), (Put("a/end", b""),)), timeout=T).revision
    seen = []
    for pair, its_sink in zip(pairs, (sink, another_sink), strict=True):
        items = its_sink.items_when(lambda items, last=pair.last: items[-1].revision >= last)
        seen.append(pair.plain([item for item in items if isinstance(item, Changes | Snapshot)]))
    assert seen[0] == seen[1]
    memory.close()
