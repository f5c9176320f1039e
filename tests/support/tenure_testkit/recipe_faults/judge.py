"""What the journals must show, whatever faults came."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Records = Iterable[dict[str, Any]]


@dataclass(slots=True)
class Claim:
    """One time for which a holder relied on something, by the machine's clock."""

    lock: str
    token: int
    holder: str
    most: int
    weight: int
    began: float
    last: float


def claims_of(records: Records) -> dict[str, list[Claim]]:
    """The claims of each lock, in the order in which they began."""
    found: dict[tuple[str, int, str], Claim] = {}
    for record in records:
        if record["kind"] == "held":
            key = (record["lock"], record["token"], record["holder"])
            made = Claim(*key, record["most"], record["weight"], record["at"], record["at"])
            found.setdefault(key, made).last = record["at"]
    by_lock = defaultdict(list)
    for claim in sorted(found.values(), key=lambda claim: claim.began):
        by_lock[claim.lock].append(claim)
    return by_lock


def holder_problems(records: Records) -> list[str]:
    """More holders at a moment than there may be, and tokens that don't grow from holder to holder."""
    problems = []
    for lock, claims in claims_of(records).items():
        active: list[Claim] = []
        greatest = 0
        for claim in claims:
            active = [*(one for one in active if one.last > claim.began), claim]
            if sum(one.weight for one in active) > claim.most:
                seen = ", ".join(f"{one.holder} (token {one.token}) until {one.last:.3f}" for one in active)
                problems.append(f"{lock} has too many holders at {claim.began:.3f}: {seen}")
            if claim.most == 1 and claim.token <= greatest:
                problems.append(f"{lock}: token {claim.token} of {claim.holder} came after {greatest}")
            greatest = max(greatest, claim.token)
    return problems


def guard_problems(records: Records) -> list[str]:
    """Guarded writes of an earlier token after a later one's."""
    writes = defaultdict(list)
    for record in records:
        if record["kind"] == "guarded":
            writes[record["lock"]].append((record["revision"], record["token"]))
    problems = []
    for lock, found in writes.items():
        greatest = 0
        for revision, token in sorted(found):
            if token < greatest:
                problems.append(f"{lock}: the write of token {token} at revision {revision} came after {greatest}'s")
            greatest = max(greatest, token)
    return problems


def item_problems(records: Records, effects: set[str], *, drained: bool) -> list[str]:
    """Items that were lost, done twice, or acknowledged without their effect.

    Args:
        records: of kind ``item``, with ``how``.
        effects: the items whose effect is in the store.
        drained: whether all items have been done by now.
    """
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if record["kind"] == "item":
            seen[record["item"]][record["how"]] += 1
    problems = []
    for item, how in seen.items():
        if how["acknowledged"] > 1:
            problems.append(f"item {item} was acknowledged {how['acknowledged']} times")
        if how["acknowledged"] and item not in effects:
            problems.append(f"item {item} was acknowledged, and its effect is missing")
        if drained and how["done"] and item not in effects:
            problems.append(f"item {item} was put, and never done: {dict(how)}")
        if how["refused"] and item in effects:
            problems.append(f"item {item} was done although its put was refused")
    return problems + [f"item {item} was done and never put" for item in effects - set(seen)]


def once_problems(records: Records) -> list[str]:
    """Callers of ``once`` that got different results."""
    results = defaultdict(set)
    for record in records:
        if record["kind"] == "once":
            results[record["name"]].add(record["result"])
    return [f"once {name}: results {sorted(found)}" for name, found in results.items() if len(found) > 1]
