"""The judgements over all actors of one store, from their journals."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


def counter_problems(records: Iterable[dict[str, Any]], final: dict[str, int | None]) -> list[str]:
    """Compare each counter with the increments: acknowledged + k, where 0 <= k <= unknown.

    Args:
        records: of kind ``count``, with ``key`` and ``how``: ``try`` before the call, ``done``, ``refused`` or
            ``unknown`` after it. A process that was killed in between leaves a ``try`` alone, which is unknown.
        final: the value that each counter had in the end; ``None`` if it didn't exist.
    """
    counts: dict[str, Counter[str]] = {}
    for record in records:
        if record["kind"] == "count":
            counts.setdefault(record["key"], Counter())[record["how"]] += 1
    problems = []
    for key, value in final.items():
        seen = counts.get(key, Counter())
        least, most = seen["done"], seen["try"] - seen["refused"]
        if not least <= (value or 0) <= most:
            problems.append(f"counter {key} is {value}: {least} increments were acknowledged, {most - least} unknown")
    return problems


@dataclass(slots=True)
class Claim:
    """One time for which a holder believed in its lock, from ``began`` to ``last``, by the machine's clock."""

    lock: str
    token: int
    holder: str
    began: float
    last: float


def claims(records: Iterable[dict[str, Any]]) -> list[Claim]:
    """The claims in records of kind ``held``: the first of a token is when the lock was taken, others renew it."""
    found: dict[tuple[str, int, str], Claim] = {}
    for record in records:
        if record["kind"] == "held":
            key = (record["lock"], record["token"], record["holder"])
            claim = found.setdefault(key, Claim(*key, record["at"], record["at"]))
            claim.last = max(claim.last, record["at"])
    return list(found.values())


def lock_problems(records: Iterable[dict[str, Any]], replaced: Iterable[tuple[float, float]] = ()) -> list[str]:
    """Two holders of a lock at one moment, and fencing tokens that didn't grow from holder to holder.

    Args:
        records: of kind ``held``.
        replaced: when the store's data was replaced by an older state, and until when leases from before may live on
            in the minds of their holders. Claims that touch such a time are left out.
    """
    times = list(replaced)
    judged = [one for one in claims(records) if not any(one.began < end and one.last > start for start, end in times)]
    problems = []
    by_lock: dict[str, list[Claim]] = {}
    for claim in sorted(judged, key=lambda claim: claim.began):
        by_lock.setdefault(claim.lock, []).append(claim)
    for lock, held in by_lock.items():
        for earlier, later in itertools.pairwise(held):
            if later.began < earlier.last:
                problems.append(
                    f"{lock} had two holders for {earlier.last - later.began:.3f} s: {earlier.holder} (token "
                    f"{earlier.token}) and {later.holder} (token {later.token})"
                )
            same_history = not any(earlier.last <= end and later.began >= start for start, end in times)
            if same_history and later.token <= earlier.token:
                problems.append(f"{lock}: token {later.token} of {later.holder} came after {earlier.token}")
    return problems
