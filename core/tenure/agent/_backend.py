"""The programs' side: a backend whose watches and lists come from the agent of the host.

Reads of one key and writes go straight to the store, if the URL names it: a compare-and-set needs the key as it is now,
and the agent holds no lease for anybody. So do watches and lists of keys that the agent doesn't serve. Without the
option ``store`` what needs the store is refused.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenure._runtime.deadline import Deadline
from tenure.agent import _wire
from tenure.agent._link import Hello, Link, state_of
from tenure.agent._straight import Straight
from tenure.agent.status import AgentStatus, status_of
from tenure.errors import ConfigError, StoreClosed, Unavailable, Unsupported
from tenure.spi.backend import Backend
from tenure.spi.capabilities import Capabilities, field_notes
from tenure.spi.diagnosis import Finding, Verdict
from tenure.spi.feed import Feed, Sink
from tenure.spi.types import (
    CommitResult,
    LeaseGrant,
    LeaseId,
    LeaseInfo,
    ListRequest,
    MultiReadResult,
    Page,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Transaction,
    WatchRequest,
)

_log = logging.getLogger("tenure.agent")
_LATENCY = 0.5
"""Seconds that the way through the agent may add."""


class AgentBackend(Backend):
    """One program's use of the agent.

    Args:
        link: the way to the agent.
        straight: the store itself; ``None`` if the URL doesn't name it.
        url: the program's URL, for messages.
        timeout: seconds for the agent's first answer.
    """

    def __init__(self, link: Link, straight: Straight | None, *, url: str, timeout: float) -> None:
        self._link = link
        self._straight = straight
        self._url = url
        self._closed = False
        try:
            hello = link.line(Deadline(timeout)).hello
            self._capabilities = _capabilities(hello, link.path, writes=straight is not None)
            if straight is not None:
                self._check_same_store(hello, straight)
        except BaseException:
            self.close()
            raise

    def _check_same_store(self, hello: Hello, straight: Straight) -> None:
        if hello.namespace != straight.namespace or hello.store.partition("+")[0].partition(":")[0] != straight.scheme:
            raise ConfigError(
                f"connecting to {self._url}: the agent serves {hello.store}, and the option store names another store "
                f"or namespace ({straight.url}); give the URL that the agent was started with"
            )
        if _place(hello.store) != _place(straight.url):
            _log.warning(
                "the agent at %s serves %s, and this program writes to %s: see to it that this is the same store",
                self._link.path,
                hello.store,
                straight.url,
            )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def history(self) -> str:
        return "" if self._straight is None else self._straight.history

    # -- from the agent --

    def _serves(self, prefix: str, deadline: Deadline) -> bool:
        """Whether the agent is the one to ask. Without another one to ask it is, and explains itself."""
        if self._straight is None:
            return True
        return any(prefix.startswith(each) for each in self._link.line(deadline).hello.prefixes)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        deadline = Deadline(timeout)
        straight = self._straight
        if straight is not None and not self._serves(request.prefix, deadline):
            backend = straight.backend(deadline)
            return straight.page(backend.list(straight.list_request(request), timeout=deadline.remaining()))
        return self._page(
            {
                "prefix": request.prefix,
                "after": request.after,
                "limit": request.limit,
                "keys_only": request.keys_only,
            },
            deadline,
        )

    def _page(self, arguments: Mapping[str, object], deadline: Deadline) -> Page:
        call, answer = self._link.line(deadline).ask("list", arguments, deadline)
        match answer:
            case ["page", int(revision), bool(more), *_]:
                return Page(state_of(call.items), more, revision)
        raise Unavailable(f"listing: the agent at {self._link.path} answered what is no page; update it")

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        deadline = Deadline(timeout)
        # The history that an application asks for by a revision of its own is the store's, which is longer.
        own = request.after is not None and not request.mark.startswith(_wire.MARK)
        if self._straight is not None and (own or not self._serves(request.prefix, deadline)):
            return self._straight.watch(request, sink=sink, deadline=deadline)
        arguments = {
            "prefix": request.prefix,
            "exact": request.exact,
            "after": request.after,
            "mark": request.mark,
            "begun": request.begun,
        }
        return self._link.line(deadline).watch(request, arguments, sink, deadline)

    # -- straight from the store --

    def _store(self, action: str) -> Straight:
        if self._closed:
            raise StoreClosed(f"{action}: the store was closed")
        if self._straight is None:
            raise Unsupported(
                f"{action}: an agent only reads, and {self._url} names no store; add the option store=URL with the URL "
                "that the agent was started with"
            )
        return self._straight

    def get(self, key: str, *, timeout: float) -> ReadResult:
        deadline = Deadline(timeout)
        straight = self._straight
        if straight is not None:
            found = straight.backend(deadline).get(straight.key(key), timeout=deadline.remaining())
            return found if found.item is None else found._replace(item=straight.item(found.item))
        page = self._page({"prefix": key, "exact": True}, deadline)
        return ReadResult(page.items[0] if page.items else None, page.revision)

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        straight, deadline = self._store(f"reading {len(keys)} keys at once"), Deadline(timeout)
        found = straight.backend(deadline).get_many(list(map(straight.key, keys)), timeout=deadline.remaining())
        items = tuple(None if item is None else straight.item(item) for item in found.items)
        return found._replace(items=items)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        straight, deadline = self._store("writing"), Deadline(timeout)
        backend = straight.backend(deadline)
        moved = straight.transaction(transaction)
        return straight.told(lambda: backend.commit(moved, timeout=deadline.remaining()))

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        straight, deadline = self._store(f"deleting the prefix {prefix!r}"), Deadline(timeout)
        return straight.backend(deadline).delete_prefix(straight.key(prefix), timeout=deadline.remaining())

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        straight, deadline = self._store("granting a lease"), Deadline(timeout)
        return straight.backend(deadline).grant(ttl, timeout=deadline.remaining())

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        straight, deadline = self._store("refreshing leases"), Deadline(timeout)
        return straight.backend(deadline).refresh(lease_ids, timeout=deadline.remaining())

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        straight, deadline = self._store("revoking leases"), Deadline(timeout)
        return straight.backend(deadline).revoke(lease_ids, timeout=deadline.remaining())

    def leases(self, lease_id: LeaseId | None, *, timeout: float) -> tuple[LeaseInfo, ...]:
        straight, deadline = self._store("listing leases"), Deadline(timeout)
        return straight.leases(straight.backend(deadline).leases(lease_id, timeout=deadline.remaining()))

    # -- housekeeping --

    def _status(self, deadline: Deadline) -> AgentStatus:
        _, answer = self._link.line(deadline).ask("status", {}, deadline)
        return status_of(answer, self._link.path)

    def server_info(self, *, timeout: float) -> ServerInfo:
        status = self._status(Deadline(timeout))
        warnings = [] if status.outage is None else [f"{status.age_text}: {status.outage}"]
        return ServerInfo(
            product="Tenure agent",
            version=str(_wire.VERSION),
            revision=max((served.revision for served in status.serves), default=0),
            warnings=tuple(warnings),
            details={
                "store": status.store,
                "serves": ", ".join(f"{each.prefix} ({each.entries})" for each in status.serves),
                "age": status.age_text,
                "programs": str(status.programs),
            },
        )

    def diagnose(self, *, timeout: float) -> tuple[Finding, ...]:
        deadline = Deadline(timeout)
        status = self._status(deadline)
        if status.outage is None:
            found = [Finding("agent", Verdict.OK, f"the agent (process {status.pid}) follows {status.store}")]
        else:
            text = f"{status.age_text}: {status.outage}"
            found = [Finding("agent", Verdict.WARNING, text, "look after the store, and after the way to it")]
        if self._straight is not None:
            found += self._straight.backend(deadline).diagnose(timeout=deadline.remaining())
        return tuple(found)

    def close(self) -> None:
        self._closed = True
        self._link.close()
        if self._straight is not None:
            self._straight.close()


def _place(url: str) -> str:
    """Return the part of a URL that says where the store is: two that differ may still name one store."""
    return url.partition("://")[2].partition("?")[0].rpartition("@")[2]


def _capabilities(hello: Hello, path: Path, *, writes: bool) -> Capabilities:
    """What a store declares that is reached through the agent."""
    given: Mapping[str, Any] | None = hello.capabilities
    if given is None:
        why = "" if hello.away is None else f": {hello.away.error}"
        raise Unavailable(
            f"connecting to the agent at {path}: it has not reached its store {hello.store} yet, and has no file of it"
            f"{why}"
        )
    try:
        own = Capabilities(**{name: given[name] for name in field_notes() if name in given})
    except TypeError as exc:
        raise ConfigError(
            f"connecting to the agent at {path}: its store's capabilities lack what this version needs ({exc}); update "
            "the agent"
        ) from exc
    return dataclasses.replace(
        own,
        linearizable=False,
        consistent_pagination=False,
        consistent_list=own.consistent_list and own.lossless_watch,
        multi_get=own.multi_get and writes,
        prefix_delete=own.prefix_delete and writes,
        list_leases=own.list_leases and writes,
        max_watch_latency=own.max_watch_latency + _LATENCY,
        max_watch_failure_detection=max(own.max_watch_failure_detection + _LATENCY, hello.detection),
    )
