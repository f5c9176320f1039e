"""The checkers of locks: ``exclusion``, ``permits``, ``fencing-tokens``, ``fenced-writes`` and ``loss-reported``.

Times are seconds on one clock. A span is the time in which a client believed that it held the lock: ``who``, from
``began`` to ``ended``, with the fencing ``token``.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from operator import itemgetter
from typing import Any


def exclusion(data: Mapping[str, Any]) -> list[str]:
    """Check that no two of the ``spans`` overlap."""
    spans = sorted(data["spans"], key=itemgetter("began"))
    problems = []
    latest = None
    for span in spans:
        if latest is not None and span["began"] < latest["ended"]:
            problems.append(f"{_span(span)} while {_span(latest)}")
        if latest is None or span["ended"] > latest["ended"]:
            latest = span
    return problems


def permits(data: Mapping[str, Any]) -> list[str]:
    """Check that the ``spans`` never have more than ``limit`` at a time; each has as many as it ``takes``."""
    lasting = [span for span in data["spans"] if span["began"] < span["ended"]]
    moments = [(span["began"], 1, span) for span in lasting] + [(span["ended"], 0, span) for span in lasting]
    present: list[Mapping[str, Any]] = []
    problems = []
    for _, begins, span in sorted(moments, key=itemgetter(0, 1)):
        if not begins:
            present.remove(span)
            continue
        present.append(span)
        taken = sum(one["takes"] for one in present)
        if taken > data["limit"]:
            others = ", ".join(f"{one['who']} {one['takes']}" for one in present)
            problems.append(f"{taken} of {data['limit']} are taken at {span['began']:.6f} s: {others}")
    return problems


def tokens(data: Mapping[str, Any]) -> list[str]:
    """Check that the token of each of the ``spans`` is greater than all before."""
    spans = sorted(data["spans"], key=itemgetter("began"))
    return [
        f"{_span(later)}, its token {later['token']} isn't greater than the one before, {earlier['token']}"
        for earlier, later in pairwise(spans)
        if later["token"] <= earlier["token"]
    ]


def fenced(data: Mapping[str, Any]) -> list[str]:
    """Check that the tokens of the ``writes`` that a resource took never decrease, in the order of ``revision``."""
    writes = sorted(data["writes"], key=itemgetter("revision"))
    return [
        f"a stale write was taken: by {later['who']} with the token {later['token']} at revision {later['revision']}, "
        f"after {earlier['who']} had written with the token {earlier['token']} at revision {earlier['revision']}"
        for earlier, later in pairwise(writes)
        if later["token"] < earlier["token"]
    ]


def loss_reported(data: Mapping[str, Any]) -> list[str]:
    """Check that a holder finds its loss by ``ttl`` after ``sent``, and before another client has ``taken`` the lock.

    ``sent`` is when the holder sent its last refresh. ``valid`` is the last moment at which it still relied on its
    lease, ``found`` the first at which it didn't. ``tolerance`` is for a busy machine.
    """
    problems = []
    after = data["found"] - data["sent"]
    if after > data["ttl"] + data["tolerance"]:
        problems.append(
            f"the holder found its lease lost after {after:.3f} s, its TTL is {data['ttl']:g} s "
            f"(and {data['tolerance']:g} s for a busy machine)"
        )
    if data["taken"] < data["valid"]:
        problems.append(
            f"another client had the lock {data['taken'] - data['sent']:.3f} s after the last refresh, and the holder "
            f"relied on its lease until {data['valid'] - data['sent']:.3f} s"
        )
    return problems


def _span(span: Mapping[str, Any]) -> str:
    return f"{span['who']} had the lock from {span['began']:.6f} to {span['ended']:.6f} s"
