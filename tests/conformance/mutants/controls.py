"""Stores that aren't broken: no rule may find anything in them, else what it finds in a mutant says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tenure.errors import Unsupported
from tenure.spi import (
    Feed,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    Sink,
    WatchRequest,
)

from .base import Faithful, Mutant
from .tcp import Networked


class Durable(Faithful):
    """Declares durable, true as long as its server is paused at the worst, and the calls on many keys."""

    declares: ClassVar = {"durable": True, "multi_get": True, "prefix_delete": True}

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self.inner.get_many(keys, timeout=timeout)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.inner.delete_prefix(prefix, timeout=timeout)


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
