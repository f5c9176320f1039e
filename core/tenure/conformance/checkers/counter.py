"""The judge ``counter``: a number that clients add one to by compare-and-set ends where their answers say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def judge(data: Mapping[str, Any]) -> list[str]:
    """Of ``start``, ``acknowledged`` and ``unknown`` additions, and what is there in the end, ``final``."""
    least = data["start"] + data["acknowledged"]
    most = least + data["unknown"]
    final = data["final"]
    if final is None:
        return ["in the end there is no counter"]
    if final < least:
        return [f"the counter ends at {final}, {least - final} acknowledged additions are missing: at least {least}"]
    if final > most:
        doubt = f", and {data['unknown']} more had no answer" if data["unknown"] else ""
        return [f"the counter ends at {final}, but only {data['acknowledged']} additions were acknowledged{doubt}"]
    return []
