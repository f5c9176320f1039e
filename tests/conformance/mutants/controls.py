"""Stores that aren't broken: no rule may find anything in them, else what it finds in a mutant says nothing."""

from __future__ import annotations

from typing import ClassVar

from tenure.errors import Unsupported
from tenure.spi import Feed, LeaseId, LeaseInfo, ListRequest, Page, Sink, WatchRequest

from .base import Faithful, Mutant
from .tcp import Networked


class Durable(Faithful):
    """Declares durable, which is true as long as nobody does worse to its server than pausing it."""

    declares: ClassVar = {"durable": True}


class Modest(Faithful):
    """Guarantees little, and refuses the rest."""

    declares: ClassVar = {
        "linearizable": False,
        "consistent_list": False,
        "consistent_pagination": False,
        "lossless_watch": False,
        "list_leases": False,
    }

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported("this store can't list at a revision")
        return self.inner.list(
            ListRequest(prefix=request.prefix, after=request.after, limit=request.limit), timeout=timeout
        )

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        raise Unsupported("this store can't list leases")

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(WatchRequest(prefix=request.prefix), sink=sink, timeout=timeout)


CONTROLS: tuple[Mutant, ...] = (Faithful, Durable, Modest, Networked)
