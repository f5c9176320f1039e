"""Broken names, prefixes and values."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, ExitStack
from unittest.mock import patch

from tenure.spi import (
    Backend,
    CommitResult,
    Delete,
    KeyValue,
    ListRequest,
    OpenRequest,
    Page,
    Put,
    ReadResult,
    Transaction,
)

from .base import BentItems, Faithful


def values_bent(transaction: Transaction, bend: object) -> Transaction:
    """The transaction with another value in each put."""
    assert callable(bend)
    operations = (
        dataclasses.replace(each, value=bend(each.value)) if isinstance(each, Put) else each
        for each in transaction.operations
    )
    return Transaction(transaction.preconditions, tuple(operations))


class BentKeys(Faithful):
    """Keys are stored under the name that :meth:`key` makes of them."""

    def key(self, key: str) -> str:
        return key

    def get(self, key: str, *, timeout: float) -> ReadResult:
        return self.inner.get(self.key(key), timeout=timeout)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        preconditions = tuple(dataclasses.replace(each, key=self.key(each.key)) for each in transaction.preconditions)
        operations = tuple(dataclasses.replace(each, key=self.key(each.key)) for each in transaction.operations)
        distinct = {each.key: each for each in operations}
        return self.inner.commit(Transaction(preconditions, tuple(distinct.values())), timeout=timeout)


class EmptyIsMissing(BentItems):
    """A key with an empty value isn't there."""

    rules = ("kv.an_empty_value_is_not_a_missing_key",)

    def item(self, item: KeyValue) -> KeyValue | None:
        return item if item.value else None


class ZeroEndsAValue(Faithful):
    """A value ends at its first zero byte."""

    rules = ("kv.values_are_binary_safe",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self.inner.commit(values_bent(transaction, lambda value: value.partition(b"\0")[0]), timeout=timeout)


class ValuesAreText(Faithful):
    """Values are stored as text: what isn't valid UTF-8 is replaced."""

    rules = ("kv.values_are_binary_safe",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        bent = values_bent(transaction, lambda value: value.decode(errors="replace").encode())
        return self.inner.commit(bent, timeout=timeout)


class SlashesAreFolded(BentKeys):
    """Several slashes in a key are one."""

    rules = ("kv.odd_keys_are_all_different",)

    def key(self, key: str) -> str:
        while "//" in key:
            key = key.replace("//", "/")
        return key


class CaseIsFolded(BentKeys):
    """Keys that differ in case alone are the same."""

    rules = ("kv.odd_keys_are_all_different",)

    def key(self, key: str) -> str:
        return key.lower()


class DeleteIsRecursive(Faithful):
    """Deleting a key deletes what is below it, as if it were a folder."""

    rules = ("kv.a_key_with_a_value_can_have_keys_below",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        committed = self.inner.commit(transaction, timeout=timeout)
        for each in transaction.operations:
            if isinstance(each, Delete):
                below = self.inner.list(ListRequest(prefix=each.key + "/"), timeout=timeout)
                self.write(*(Delete(item.key) for item in below.items))
        return committed


class PrefixLeak(Faithful):
    """A prefix is taken for a folder's name: its last slash doesn't count."""

    rules = ("kv.delete_prefix_deletes_the_prefix_alone",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self.inner.list(
            ListRequest(
                prefix=request.prefix.rstrip("/"), after=request.after, limit=request.limit, revision=request.revision
            ),
            timeout=timeout,
        )


class KeysAreNotChecked(Faithful):
    """Whatever is given as a key is taken."""

    rules = ("kv.illegal_keys_are_refused",)

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        patches = ExitStack()
        for module in ("store", "validation"):
            patches.enter_context(patch(f"tenure._client.{module}.check_key", lambda key: None))
        return patches


class LongKeysAreCut(BentKeys):
    """Only the first 1,024 characters of a key count, its namespace's included."""

    rules = ("kv.the_longest_key_works",)

    def key(self, key: str) -> str:
        return key[:1024]


class LargeValuesAreCut(Faithful):
    """Declares that a value may have 16 MiB, and keeps the first mebibyte."""

    rules = ("kv.the_largest_value_works_and_more_is_refused",)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self.inner.commit(values_bent(transaction, lambda value: value[: 1024 * 1024]), timeout=timeout)


class EachConnectionIsAStore(Faithful):
    """What one connection writes no other one sees."""

    rules = ("kv.connections_see_the_same_store",)

    @classmethod
    def opened(cls, request: OpenRequest, server: str) -> Backend:
        return super().opened(request, "")


MUTANTS: tuple[type[Faithful], ...] = (
    EmptyIsMissing,
    ZeroEndsAValue,
    ValuesAreText,
    SlashesAreFolded,
    CaseIsFolded,
    DeleteIsRecursive,
    PrefixLeak,
    KeysAreNotChecked,
    LongKeysAreCut,
    LargeValuesAreCut,
    EachConnectionIsAStore,
)
