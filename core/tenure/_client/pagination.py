"""The result of ``Store.list``, and how to assemble it from a plugin's pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from tenure._runtime.deadline import Deadline
from tenure.errors import Compacted
from tenure.spi.types import KeyValue, ListRequest, Page
from tenure.watch.diff import strip_all, strip_namespace


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys that start with a prefix, in UTF-8 byte order. Iterate over it, index it, or take its ``len``.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     written = store.put("app/name", b"demo")
    ...     listing = store.list("app/")
    >>> listing.keys, len(listing), listing[0].value
    (('app/name',), 1, b'demo')

    Attributes:
        items: the keys with their values.
        revision: the store revision that the items show. A watch after this revision misses nothing.
        has_more: whether keys follow that ``limit`` left out.
    """

    items: tuple[KeyValue, ...]
    revision: int
    has_more: bool = False

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> KeyValue:
        return self.items[index]

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys without their values."""
        return tuple(item.key for item in self.items)


class ReadPage(Protocol):
    """Reads one page of a prefix (complete, with its namespace) within some seconds.

    ``make`` makes the request, and takes the patience that there is when it is sent.
    """

    def __call__(self, make: Callable[..., ListRequest], seconds: float, /) -> Page: ...


class Pager:
    """Reads page after page; all at the revision of the first if the store can do that (``consistent``)."""

    def __init__(self, read: ReadPage, *, consistent: bool, strip: int) -> None:
        self._read = read
        self._consistent = consistent
        self._strip = strip

    def fetch_all(
        self, prefix: str, limit: int | None, timeout: float, *, keys_only: bool = False, after: str | None = None
    ) -> Listing:
        """Return everything, or the first ``limit`` items, within ``timeout`` seconds; ``after`` a key, if given."""
        deadline = Deadline(timeout)
        while True:
            try:
                return self._fetch_pages(prefix, limit, deadline, after, keys_only=keys_only)
            except Compacted:
                # The state that the first page showed has left the history meanwhile: begin again.
                if deadline.expired:
                    raise

    def _fetch_pages(
        self, prefix: str, limit: int | None, deadline: Deadline, after: str | None, *, keys_only: bool
    ) -> Listing:
        items: list[KeyValue] = []
        revision: int | None = None
        while True:
            wanted = None if limit is None else limit - len(items)
            deadline.check(f"listing, {len(items)} keys had been read")
            make = partial(
                ListRequest, prefix=prefix, after=after, limit=wanted, revision=revision, keys_only=keys_only
            )
            page = self._read(make, deadline.remaining())
            items += self._as_asked(page, keys_only=keys_only)
            if not page.has_more or not page.items or (limit is not None and len(items) >= limit):
                break
            after = page.items[-1].key
            revision = page.revision if self._consistent else None
        return Listing(tuple(items), page.revision, page.has_more)

    def _as_asked(self, page: Page, *, keys_only: bool) -> Iterable[KeyValue]:
        """Return the items without the namespace, and without values that no caller wants."""
        found = strip_all(page.items, self._strip)
        if keys_only and any(item.value for item in page.items):
            return [KeyValue(key, b"", created, modified, lease) for key, _, created, modified, lease in found]
        return found

    def iter_items(self, prefix: str, page_size: int, timeout: float) -> Iterator[KeyValue]:
        """Yield item by item, ``page_size`` of them in memory, with ``timeout`` seconds for each page."""
        after: str | None = None
        revision: int | None = None
        while True:
            make = partial(ListRequest, prefix=prefix, after=after, limit=page_size, revision=revision)
            page = self._read(make, timeout)
            for item in page.items:
                yield strip_namespace(item, self._strip)
            if not page.has_more or not page.items:
                return
            after = page.items[-1].key
            revision = page.revision if self._consistent else None
