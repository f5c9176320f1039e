"""Broken lists and scans."""

from __future__ import annotations

import fnmatch
import time
from typing import ClassVar

from tenure.spi import KeyValue, ListRequest, Page

from .base import BentPages, Faithful

ROUND_TRIP = 0.001

_THOUSAND = 1000
_MESSAGE = 4 * 1024 * 1024


class ListOutOfOrder(BentPages):
    """Lists are sorted as UTF-16."""

    rules = ("lists.are_in_byte_order",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        items = sorted(page.items, key=lambda item: item.key.encode("utf-16-be", "surrogatepass"))
        return Page(tuple(items), page.has_more, page.revision)


class PrefixIsAPattern(Faithful):
    """A prefix is taken for a pattern with wildcards."""

    rules = ("lists.take_any_prefix_literally",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        everything = self.inner.list(
            ListRequest(prefix="", after=request.after, revision=request.revision), timeout=timeout
        )
        items = tuple(item for item in everything.items if fnmatch.fnmatchcase(item.key, request.prefix + "*"))
        return Page(
            items[: request.limit], request.limit is not None and len(items) > request.limit, everything.revision
        )


class PrefixIsAFolder(Faithful):
    """A prefix shows the key of that name and what is below it, as if it were a folder."""

    rules = ("lists.match_no_folder",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(
            ListRequest(prefix=request.prefix, after=request.after, revision=request.revision), timeout=timeout
        )
        folder = request.prefix.rstrip("/") + "/"
        items = tuple(item for item in page.items if item.key == request.prefix or item.key.startswith(folder))
        return Page(items[: request.limit], request.limit is not None and len(items) > request.limit, page.revision)


class ListRevisionIsOld(BentPages):
    """A list tells the revision of the oldest item in it."""

    rules = ("lists.carry_items_and_revision",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return Page(page.items, page.has_more, min((item.mod_revision for item in page.items), default=page.revision))


class ListedWithoutHistory(BentPages):
    """Listed items have the create revision of their last put."""

    rules = ("lists.carry_items_and_revision",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        items = tuple(item._replace(create_revision=item.mod_revision) for item in page.items)
        return Page(items, page.has_more, page.revision)


class NeverMore(BentPages):
    """A page never says that there are more."""

    rules = ("lists.respect_the_limit", "lists.by_scan_equal_lists")

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return Page(page.items, has_more=False, revision=page.revision)


class MoreThanThereIs(BentPages):
    """A full page always says that there are more."""

    rules = ("lists.respect_the_limit",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return Page(page.items, len(page.items) == limit, page.revision)


class CutAtAThousand(BentPages):
    """A list ends at its thousandth key."""

    rules = ("lists.of_many_keys_are_complete",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        return Page(page.items[:_THOUSAND], page.has_more, page.revision)


class CutAtAMessage(BentPages):
    """A list ends where its values no longer fit into 4 MiB."""

    rules = ("lists.of_many_bytes_are_complete",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        items: list[KeyValue] = []
        room = _MESSAGE
        for item in page.items:
            room -= len(item.value)
            if room < 0:
                break
            items.append(item)
        return Page(tuple(items), page.has_more, page.revision)


class PagesOfTwoMoments(BentPages):
    """Declares consistent_list, and reads what is beyond the thousandth key of a list a moment later."""

    rules = ("lists.of_many_keys_show_transactions_whole",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        if len(page.items) <= 1000:
            return page
        time.sleep(ROUND_TRIP)
        rest = ListRequest(prefix=prefix, after=page.items[999].key)
        return Page(page.items[:1000] + self.inner.list(rest, timeout=10.0).items, page.has_more, page.revision)


class LargePagesOfTwoMoments(BentPages):
    """Declares consistent_list, and reads what is beyond the first 8 MiB of a list a moment later."""

    rules = ("lists.of_many_bytes_show_transactions_whole",)

    def page(self, page: Page, prefix: str, limit: int | None) -> Page:
        size = 0
        for count, item in enumerate(page.items):
            size += len(item.value)
            if size > 8 << 20:
                time.sleep(ROUND_TRIP)
                rest = ListRequest(prefix=prefix, after=item.key)
                later = self.inner.list(rest, timeout=10.0).items
                return Page(page.items[: count + 1] + later, page.has_more, page.revision)
        return page


class NextPageRepeats(Faithful):
    """A page begins with the last key of the page before."""

    rules = ("lists.by_scan_equal_lists", "lists.by_scan_miss_nothing_that_stays")

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        page = self.inner.list(request, timeout=timeout)
        last = None if request.after is None else self.inner.get(request.after, timeout=timeout).item
        return page if last is None else Page((last, *page.items), page.has_more, page.revision)


class PagesByOffset(Faithful):
    """A page begins where the one before ended by number, whatever was put or deleted meanwhile."""

    rules = ("lists.by_scan_miss_nothing_that_stays",)
    starts: ClassVar[dict[tuple[str, str], int]] = {}

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        start = 0 if request.after is None else self.starts[request.prefix, request.after]
        everything = self.inner.list(ListRequest(prefix=request.prefix), timeout=timeout)
        end = len(everything.items) if request.limit is None else start + request.limit
        items = everything.items[start:end]
        if items:
            self.starts[request.prefix, items[-1].key] = end
        return Page(items, end < len(everything.items), everything.revision)


class PagesAreNotPinned(Faithful):
    """Declares consistent_pagination, and shows the present in every page."""

    rules = ("lists.by_scan_show_one_revision",)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        return self.inner.list(
            ListRequest(prefix=request.prefix, after=request.after, limit=request.limit), timeout=timeout
        )


MUTANTS: tuple[type[Faithful], ...] = (
    ListOutOfOrder,
    PrefixIsAPattern,
    PrefixIsAFolder,
    ListRevisionIsOld,
    ListedWithoutHistory,
    NeverMore,
    MoreThanThereIs,
    CutAtAThousand,
    CutAtAMessage,
    PagesOfTwoMoments,
    LargePagesOfTwoMoments,
    NextPageRepeats,
    PagesByOffset,
    PagesAreNotPinned,
)
