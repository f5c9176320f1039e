"""Broken namespaces: most are core's, which puts them in front of keys."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import AbstractContextManager
from typing import ClassVar
from unittest.mock import patch
from urllib.parse import quote

from tenure.spi import CommitResult, Feed, ListRequest, Page, Sink, Transaction, WatchRequest

from .base import Faithful

_PREFIX = "tenure._client.opening.namespace_prefix"


class NamespacesAreNotEncoded(Faithful):
    """The name of a namespace is put in front of keys as it is, slashes included."""

    rules = ("namespaces.isolate",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch(_PREFIX, lambda name: name and f"{name}/")


class NeighboursAreListed(Faithful):
    """A list and a watch of a whole namespace show those whose names begin with its name, too."""

    rules = ("namespaces.isolate",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(
            ListRequest(
                prefix=request.prefix.rstrip("/"), after=request.after, limit=request.limit, revision=request.revision
            ),
            timeout=timeout,
        )
        own = len(request.prefix)
        return Page(
            tuple(item._replace(key=request.prefix + item.key[own:]) for item in page.items),
            page.has_more,
            page.revision,
        )

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        return self.inner.watch(
            WatchRequest(prefix=request.prefix.rstrip("/"), after=request.after), sink=sink, timeout=timeout
        )


class NamespacesHaveNoSeparator(Faithful):
    """Nothing stands between the name of a namespace and a key."""

    rules = ("namespaces.with_shorter_names_are_separate",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch(_PREFIX, lambda name: quote(name, safe=""))


class NamespacesAreHashed(Faithful):
    """A namespace's keys are stored under a hash of its name, which nobody can read."""

    rules = ("namespaces.are_readable_from_the_root",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        return patch(_PREFIX, lambda name: name and hashlib.sha256(name.encode()).hexdigest() + "/")


class RevisionPerNamespace(Faithful):
    """Each namespace counts its own revisions."""

    rules = ("namespaces.share_the_revision",)
    counts: ClassVar[Counter[str]] = Counter()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        if not transaction.operations:
            return committed
        namespace = transaction.operations[0].key.partition("/")[0]
        self.counts[namespace] += 1
        return CommitResult(self.counts[namespace], committed.deleted)


MUTANTS: tuple[type[Faithful], ...] = (
    NamespacesAreNotEncoded,
    NeighboursAreListed,
    NamespacesHaveNoSeparator,
    NamespacesAreHashed,
    RevisionPerNamespace,
)
