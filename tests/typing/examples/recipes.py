"""Counters, values and transactions, as an application uses them."""

from __future__ import annotations

from typing import reveal_type

import tenure


def summed(view: tenure.TransactView) -> int:
    return len(view.get("a") or b"")


def run(held: tenure.Held) -> bytes:
    return str(held.token).encode()


def wrong(held: tenure.Held) -> str:
    return "text"


with tenure.connect("memory://") as store:
    reveal_type(tenure.Counter(store, "c").add(2))  # reveals: int
    reveal_type(tenure.AtomicValue(store, "v").get())  # reveals: bytes | None
    reveal_type(tenure.transact(store, summed, timeout=1))  # reveals: int
    reveal_type(tenure.once(store, "job", run))  # reveals: bytes
    tenure.once(store, "other", lambda held: None)
    tenure.once(store, "wrong", wrong)  # error: arg-type
    reveal_type(tenure.IdBlock(store, "i", size=2).next())  # reveals: int
    reveal_type(tenure.Schedule(store, "s", 60).take)  # reveals: def (*, timeout: float | None =) -> datetime.datetime
