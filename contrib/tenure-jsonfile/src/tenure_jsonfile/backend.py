"""The methods of the SPI, on a state file."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tenure.errors import ConfigError, StoreClosed, Unsupported
from tenure.plugin_kit import wall_clock
from tenure.spi import (
    Backend,
    Capabilities,
    CommitResult,
    Delete,
    Feed,
    LeaseGrant,
    LeaseId,
    ListRequest,
    MultiReadResult,
    OpenRequest,
    Page,
    PollingFeed,
    PrefixDeletion,
    ReadResult,
    ServerInfo,
    Sink,
    Snapshot,
    Transaction,
    WatchRequest,
)
from tenure_jsonfile.capabilities import declare
from tenure_jsonfile.file import StateFile
from tenure_jsonfile.state import Lease, State

_LARGE = 1_000_000  # bytes; each write writes the whole file


class JsonFileBackend(Backend):
    def __init__(self, request: OpenRequest) -> None:
        if not request.path:
            raise ConfigError(f"{request.url} names no file: write jsonfile:///path/to/state.json")
        self._clock = request.clock
        self._file = StateFile(Path(request.path), request.clock, timeout=request.timeout)
        self._poll: float = request.options["poll"]
        self._feeds: weakref.WeakSet[PollingFeed] = weakref.WeakSet()
        self._closed = False
        self._capabilities = declare(poll=self._poll)

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def get(self, key: str, *, timeout: float) -> ReadResult:
        state = self._current(timeout)
        return ReadResult(state.keys.get(key), state.revision)

    def list(self, request: ListRequest, *, timeout: float) -> Page:
        if request.revision is not None:
            raise Unsupported("the file has no past: lists show the present (consistent_pagination isn't declared)")
        state = self._current(timeout)
        found = [
            state.keys[key] for key in _under(state, request.prefix) if request.after is None or key > request.after
        ]
        return Page(
            tuple(found[: request.limit]),
            has_more=request.limit is not None and len(found) > request.limit,
            revision=state.revision,
        )

    def get_many(self, keys: Sequence[str], *, timeout: float) -> MultiReadResult:
        state = self._current(timeout)
        return MultiReadResult(tuple(map(state.keys.get, keys)), state.revision)

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        return self._open_file().update(lambda state: state.commit(transaction), timeout)

    def delete_prefix(self, prefix: str, *, timeout: float) -> PrefixDeletion:
        def change(state: State) -> PrefixDeletion:
            done = state.commit(Transaction((), tuple(map(Delete, _under(state, prefix)))))
            return PrefixDeletion(deleted=done.deleted, revision=done.revision)

        return self._open_file().update(change, timeout)

    def grant(self, ttl: float, *, timeout: float) -> LeaseGrant:
        lease_id = uuid.uuid4().hex

        def change(state: State) -> LeaseGrant:
            state.leases[lease_id] = Lease(ttl, self._clock.now() + ttl)
            state.changed = True
            return LeaseGrant(lease_id, ttl)

        return self._open_file().update(change, timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> dict[LeaseId, float]:
        def change(state: State) -> dict[LeaseId, float]:
            alive = {lease_id: state.leases[lease_id] for lease_id in lease_ids if lease_id in state.leases}
            for lease in alive.values():
                lease.deadline = self._clock.now() + lease.ttl
                state.changed = True
            return {lease_id: lease.ttl for lease_id, lease in alive.items()}

        return self._open_file().update(change, timeout)

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        def change(state: State) -> frozenset[LeaseId]:
            return frozenset(lease_id for lease_id in lease_ids if state.end_lease(lease_id))

        return self._open_file().update(change, timeout)

    def watch(self, request: WatchRequest, *, sink: Sink, timeout: float) -> Feed:
        self._open_file()

        def look() -> Snapshot:
            state = self._file.current(timeout=2.0)
            keys = _under(state, request.prefix)
            watched = (state.keys[key] for key in keys if not request.exact or key == request.prefix)
            return Snapshot(tuple(watched), state.revision)

        feed = PollingFeed(look, sink, interval=self._poll, name="tenure-jsonfile")
        self._feeds.add(feed)
        return feed

    def server_info(self, *, timeout: float) -> ServerInfo:
        state = self._current(timeout)
        size = self._file.path.stat().st_size
        slow = f"the file has {size} bytes, and every write writes all of them: use another store for so much"
        return ServerInfo(
            product="JSON file",
            version=metadata.version("tenure-jsonfile"),
            revision=state.revision,
            clock=wall_clock(),
            warnings=(slow,) if size > _LARGE else (),
            details={"path": str(self._file.path), "bytes": str(size), "keys": str(len(state.keys))},
        )

    def close(self) -> None:
        self._closed = True
        for feed in list(self._feeds):
            feed.close()

    def _open_file(self) -> StateFile:
        if self._closed:
            raise StoreClosed(f"the store in {self._file.path} is closed")
        return self._file

    def _current(self, timeout: float) -> State:
        return self._open_file().current(timeout)


def _under(state: State, prefix: str) -> list[str]:
    """Keys in UTF-8 byte order, which for text is the order of its code points."""
    return sorted(key for key in state.keys if key.startswith(prefix))
