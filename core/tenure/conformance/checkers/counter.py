"""The checker ``counter``: a number that clients increment by compare-and-set ends where their results say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check(data: Mapping[str, Any]) -> list[str]:
    """Compare ``start`` and the numbers of ``acknowledged`` and ``unknown`` increments with the ``final`` value."""
    least = data["start"] + data["acknowledged"]
    most = least + data["unknown"]
    final = data["final"]
    if final is None:
        return ["the counter is missing at the end"]
    if final < least:
        return [f"the counter ends at {final}: {least - final} acknowledged increments are missing, at least {least}"]
    if final > most:
        doubt = f", and {data['unknown']} more had no answer" if data["unknown"] else ""
        return [f"the counter ends at {final}, but only {data['acknowledged']} increments were acknowledged{doubt}"]
    return []
