"""Broken calls on many keys: lists without values, several keys at one revision, deleting a prefix."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import ClassVar
from unittest import mock

from tenure._client import multi_read
from tenure._runtime.deadline import Deadline
from tenure.spi import (
    Changes,
    Delete,
    Deleted,
    FeedItem,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
)

from .base import BentFeed, BentWatch, Faithful

_BETWEEN_READS = 0.002


class _Several(Faithful):
    """Declares ``multi_get``."""

    declares: ClassVar = {"multi_get": True}


class _Prefix(Faithful):
    """Declares ``prefix_delete``."""

    declares: ClassVar = {"prefix_delete": True}

    def delete(self, keys: Sequence[str]) -> PrefixDeletion:
        done = self.write(*map(Delete, keys))
        return PrefixDeletion(deleted=done.deleted, revision=done.revision)

    def keys(self, prefix: str) -> list[str]:
        page = self.inner.list(ListRequest(prefix=prefix), timeout=10.0)
        return [item.key for item in page.items]


class UndeclaredCallsWork(Faithful):
    """Reads several keys at once and does not declare it."""

    rules = ("bulk.calls_work_or_are_refused",)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self.inner.get_many(keys, timeout=timeout)


class DeclaredCallsDoNothing(_Prefix):
    """Declares that it deletes prefixes, and deletes nothing."""

    rules = ("bulk.calls_work_or_are_refused", "bulk.a_deleted_prefix_takes_no_neighbour")

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return PrefixDeletion(deleted=0, revision=self.present)


class KeysAloneInAnotherOrder(Faithful):
    """A list without values comes in the order in which the keys were created."""

    rules = ("bulk.keys_alone_are_those_of_the_list",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(request, timeout=timeout)
        if not request.keys_only:
            return page
        items = sorted(page.items, key=lambda item: (item.create_revision, item.key[::-1]))
        return Page(tuple(items), page.has_more, page.revision)


class KeysAloneMissEmptyOnes(Faithful):
    """A list without values leaves out the keys whose value is empty."""

    rules = ("bulk.keys_alone_are_those_of_the_list",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        whole = ListRequest(prefix=request.prefix, after=request.after, limit=request.limit, revision=request.revision)
        page = self.inner.list(whole, timeout=timeout)
        if not request.keys_only:
            return page
        items = tuple(item._replace(value=b"") for item in page.items if item.value)
        return Page(items, page.has_more, page.revision)


class SeveralKeysInByteOrder(_Several):
    """Several keys come in byte order and not in the order asked for."""

    rules = ("bulk.several_keys_are_as_single_ones",)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        return self.inner.get_many(sorted(keys), timeout=timeout)


class SeveralKeysWithoutTheMissing(_Several):
    """A missing key among several has no entry."""

    rules = ("bulk.several_keys_are_as_single_ones",)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        found = self.inner.get_many(keys, timeout=timeout)
        return MultiReadResult(tuple(item for item in found.items if item is not None), found.revision)


class SeveralKeysOneByOne(_Several):
    """Several keys are read one after another, each as it is at its moment."""

    rules = ("bulk.several_keys_are_of_one_revision",)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        revision = self.present
        items = []
        for key in keys:
            items.append(self.inner.get(key, timeout=timeout).item)
            time.sleep(_BETWEEN_READS)
        return MultiReadResult(tuple(items), revision)


class SeveralKeysAreOld(_Several):
    """Several keys carry the revision that the store has some time after they were read."""

    rules = ("bulk.several_keys_are_of_one_revision",)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        found = self.inner.get_many(keys, timeout=timeout)
        time.sleep(_BETWEEN_READS)
        return MultiReadResult(found.items, self.present)


class SeveralKeysUnproven(Faithful):
    """Core reads several keys one after another, without the proof that they were so at one revision."""

    rules = ("bulk.several_keys_read_by_core_are_of_one_revision",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        def unproven(
            get: Callable[[str, float], ReadResult], _commit: object, keys: Sequence[str], deadline: Deadline
        ) -> MultiReadResult:
            found = []
            for key in keys:
                found.append(get(key, deadline.remaining()))
                time.sleep(_BETWEEN_READS)
            return MultiReadResult(tuple(each.item for each in found), found[0].revision)

        return mock.patch.object(multi_read, "read_until_proven", unproven)


class PrefixTakesTheNextKey(_Prefix):
    """Deleting a prefix takes the key that follows its range, too."""

    rules = ("bulk.a_deleted_prefix_takes_no_neighbour", "bulk.watchers_see_a_deleted_prefix")

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return self.delete([*self.keys(prefix), end])


class PrefixIsDeletedAsAFolder(_Prefix):
    """Deleting a prefix leaves the keys that don't go on with a slash."""

    rules = ("bulk.a_deleted_prefix_takes_no_neighbour",)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.delete(self.keys(prefix if prefix.endswith("/") else f"{prefix}/"))


class PrefixEndsTooEarly(_Prefix):
    """Deleting a prefix ends before the keys that go on with the last character there is."""

    rules = ("bulk.a_deleted_prefix_takes_no_neighbour", "bulk.watchers_see_a_deleted_prefix")

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.delete([key for key in self.keys(prefix) if key < prefix + chr(0x10FFFF)])


class PrefixIsDeletedInPart(_Prefix):
    """Deleting a prefix ends after five keys, and says that none are left."""

    rules = ("bulk.a_deleted_prefix_takes_no_neighbour",)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.delete(self.keys(prefix)[:5])


class PrefixIsDeletedInOnePart(_Prefix):
    """Deleting a prefix ends after as many keys as a transaction takes, and says that none are left."""

    rules = ("bulk.a_prefix_of_many_keys_is_deleted",)
    declares: ClassVar = {"prefix_delete": True, "max_transaction_operations": 100}

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.delete(self.keys(prefix)[:100])


class PrefixIsMiscounted(_Prefix):
    """Deleting a prefix returns the number of keys that the store has left."""

    rules = ("bulk.a_deleted_prefix_takes_no_neighbour",)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        done = self.delete(self.keys(prefix))
        return PrefixDeletion(deleted=len(self.keys("")), revision=done.revision)


class PrefixGoesKeyByKey(_Prefix):
    """Deleting a prefix deletes each of its keys by a transaction of its own."""

    rules = ("bulk.a_prefix_is_deleted_as_one_transaction",)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        done = [self.delete([key]) for key in self.keys(prefix)]
        return PrefixDeletion(deleted=len(done), revision=done[-1].revision if done else self.present)


class PrefixGoesUnseen(_Prefix, BentWatch):
    """Watchers aren't told of the keys of a deleted prefix."""

    rules = ("bulk.watchers_see_a_deleted_prefix",)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        return self.delete(self.keys(prefix))

    def changes(self, item: Changes, feed: BentFeed) -> Sequence[FeedItem]:
        entries = tuple(entry for entry in item.entries if not isinstance(entry, Deleted))
        return [Changes(entries, item.revision)] if entries else []


MUTANTS: tuple[type[Faithful], ...] = (
    UndeclaredCallsWork,
    DeclaredCallsDoNothing,
    KeysAloneInAnotherOrder,
    KeysAloneMissEmptyOnes,
    SeveralKeysInByteOrder,
    SeveralKeysWithoutTheMissing,
    SeveralKeysOneByOne,
    SeveralKeysAreOld,
    SeveralKeysUnproven,
    PrefixTakesTheNextKey,
    PrefixIsDeletedAsAFolder,
    PrefixEndsTooEarly,
    PrefixIsDeletedInPart,
    PrefixIsDeletedInOnePart,
    PrefixIsMiscounted,
    PrefixGoesKeyByKey,
    PrefixGoesUnseen,
)
