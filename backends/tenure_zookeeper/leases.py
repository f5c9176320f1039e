"""Leases: each is a ZooKeeper session, and its keys are the session's ephemeral nodes.

A session needs its number and password to be attached to. The password lies in a record beside the keys,
``<namespace>/.leasehold/leases/<id>``, itself an ephemeral node of the session: so a lease can be used by every
process that may read the record, and the records are the list of leases. Where the URL has a user, only that
user may. Nobody else sends anything in a session's name, so it ends when no refresh has attached to it for its
timeout; nothing in the client pings.

A connection that was made for a put stays for the next one, for as long as the pool has room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tenure.errors import LeaseNotFound, StoreClosed, TenureError
from tenure.plugin_kit import Deadline, Monitor
from tenure.spi.types import LeaseGrant, LeaseId, LeaseInfo, ListRequest
from tenure_zookeeper import encoding, folders, keys, reads
from tenure_zookeeper.connection import Connection, Fresh
from tenure_zookeeper.errors import translate
from tenure_zookeeper.session import Session
from tenure_zookeeper.transactions import Send

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_POOL = 8
"""Connections of leases that stay open; the server allows 60 from one address by default."""
_WORKERS = 8
"""Sessions that are refreshed or ended at the same time."""
_LOST = (encoding.Code.SESSION_EXPIRED, encoding.Code.SESSION_MOVED)


class _Held:
    """A session with its lock. ``gone``: it has ended, as far as this process knows."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.lock = Monitor()
        self.gone = False


class Leases:
    """The leases of one backend, its own and those of others that it was asked about. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        base = keys.folder_path(connection.namespace[:-1]) if connection.namespace else "/"
        self._folder = keys.join(keys.join(base, keys.INTERNAL), "leases")
        self._lock = Monitor()
        self._held: dict[LeaseId, _Held] = {}
        self._warm: OrderedDict[LeaseId, _Held] = OrderedDict()
        self._workers: ThreadPoolExecutor | None = None
        self._closed = False

    # -- the SPI's methods --

    def grant(self, ttl: float, *, deadline: Deadline) -> LeaseGrant:
        """``Backend.grant``."""
        self._connection.ensure_open()
        session = Session(self._connection.endpoints, self._connection.logins)
        try:
            session.attach(ttl, deadline)
            self._record(session, deadline=deadline)
        finally:
            session.detach()
        lease_id = _name(session.number)
        with self._lock:
            if not self._closed:
                self._held[lease_id] = _Held(session)
        return LeaseGrant(lease_id, session.timeout)

    def refresh(self, lease_ids: Sequence[LeaseId], *, deadline: Deadline) -> dict[LeaseId, float]:
        """``Backend.refresh``."""
        answers = self._each(lease_ids, lambda lease_id: self._refresh(lease_id, deadline))
        return {lease_id: ttl for lease_id, ttl in zip(lease_ids, answers, strict=True) if ttl is not None}

    def revoke(self, lease_ids: Sequence[LeaseId], *, deadline: Deadline) -> frozenset[LeaseId]:
        """``Backend.revoke``."""
        answers = self._each(lease_ids, lambda lease_id: self._revoke(lease_id, deadline))
        return frozenset(lease_id for lease_id, alive in zip(lease_ids, answers, strict=True) if alive)

    def describe(self, lease_id: LeaseId | None, *, deadline: Deadline) -> tuple[LeaseInfo, ...]:
        """``Backend.leases``. Reads all keys of the namespace, as only a session itself could be asked for its own."""
        found = self._records(deadline) if lease_id is None else [lease_id]
        timeouts = {name: ttl for name in found if (ttl := self._timeout_of(name, deadline)) is not None}
        attached: dict[LeaseId, list[str]] = {name: [] for name in timeouts}
        if timeouts:
            # Other namespaces may be closed to this user, and a lease is of the one that its record is in.
            request = ListRequest(prefix=self._connection.namespace, keys_only=True)
            page = reads.list_page(self._connection, request, deadline=deadline)
            for item in page.items:
                if item.lease_id in attached:
                    attached[item.lease_id].append(item.key)
        return tuple(LeaseInfo(name, ttl, None, tuple(attached[name])) for name, ttl in timeouts.items())

    def sender(self, lease_id: LeaseId, deadline: Deadline) -> Send:
        """How to send a write in the name of the lease. Raises ``LeaseNotFound``."""
        held = self._find(lease_id, deadline)

        def send(request: encoding.Request, deadline: Deadline) -> encoding.Reply:
            with held.lock.alone("using a lease"):
                if held.gone:
                    raise _not_found(lease_id)
                try:
                    if not held.session.attached:
                        held.session.attach(held.session.timeout, deadline)
                    answer = held.session.request(request, deadline)
                except LeaseNotFound:
                    self._forget(lease_id, held)
                    raise _not_found(lease_id) from None
                self._connection.reached(answer.zxid)
                if answer.error in _LOST:
                    held.session.detach()
                if answer.error == encoding.Code.SESSION_EXPIRED:
                    self._forget(lease_id, held)
                    raise _not_found(lease_id)
            self._keep_warm(lease_id, held)
            return answer

        return send

    def close(self) -> None:
        """Drop all connections; sessions that were not ended live on until their timeout."""
        with self._lock:
            self._closed = True
            held = list(self._held.values())
            self._held.clear()
            self._warm.clear()
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.shutdown(wait=True, cancel_futures=True)
        for each in held:
            if not each.lock.entered:  # a handler may close what it has interrupted
                with each.lock:
                    each.session.detach()

    # -- one lease --

    def _refresh(self, lease_id: LeaseId, deadline: Deadline) -> float | None:
        try:
            held = self._find(lease_id, deadline)
        except LeaseNotFound:
            return None
        with held.lock.alone("using a lease"):
            if held.gone:
                return None
            try:
                held.session.attach(held.session.timeout, deadline)
            except LeaseNotFound:
                self._forget(lease_id, held)
                return None
            ttl = held.session.timeout
            if lease_id not in self._warm:
                held.session.detach()
            return ttl

    def _revoke(self, lease_id: LeaseId, deadline: Deadline) -> bool:
        try:
            held = self._find(lease_id, deadline)
        except LeaseNotFound:
            return False
        with held.lock.alone("using a lease"):
            if held.gone:
                return False
            alive = held.session.close(deadline)
            self._connection.reached(held.session.zxid)
            self._forget(lease_id, held)
            return alive

    def _find(self, lease_id: LeaseId, deadline: Deadline) -> _Held:
        """The lease's session; one that isn't known here is looked up in its record. Raises ``LeaseNotFound``."""
        self._connection.ensure_open()
        with self._lock:
            held = self._held.get(lease_id)
        if held is not None:
            return held
        number = _number(lease_id)
        record = None if number is None else self._read_record(lease_id, deadline)
        if number is None or record is None or record.stat.owner != number:
            raise _not_found(lease_id)
        session = Session(self._connection.endpoints, self._connection.logins, number=number, password=record.data[:16])
        session.timeout = _ttl(record)
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            return self._held.setdefault(lease_id, _Held(session))

    def _forget(self, lease_id: LeaseId, held: _Held) -> None:
        held.gone = True
        held.session.detach()
        with self._lock:
            if self._held.get(lease_id) is held:
                del self._held[lease_id]
            self._warm.pop(lease_id, None)

    def _keep_warm(self, lease_id: LeaseId, held: _Held) -> None:
        with self._lock:
            if held.gone or self._closed:
                return
            self._warm[lease_id] = held
            self._warm.move_to_end(lease_id)
            surplus = [self._warm.popitem(last=False)[1]] if len(self._warm) > _POOL else []
        for other in surplus:
            if not other.lock.entered and other.lock.acquire(
                blocking=False
            ):  # one in use just now is dropped after its next refresh
                other.session.detach()
                other.lock.release()

    # -- records --

    def _record(self, session: Session, *, deadline: Deadline) -> None:
        path = keys.join(self._folder, _name(session.number))
        data = session.password + str(round(session.timeout * 1000)).encode()
        request = encoding.create(path, data, self._connection.private_acl, encoding.EPHEMERAL)
        if not self._connection.modern:
            request = encoding.Request(encoding.Op.CREATE, request.body)
        while True:
            answer = session.request(request, deadline)
            if not answer.error:
                return
            if answer.error != encoding.Code.NO_NODE:
                raise translate(answer.error, action="granting a lease", write=False)
            folders.ensure(self._connection, self._folder, deadline=deadline)

    def _read_record(self, lease_id: LeaseId, deadline: Deadline) -> encoding.Node | None:
        path = keys.join(self._folder, lease_id)
        request, action = encoding.get_data(path), "looking up a lease"
        answer = self._connection.read([request], deadline=deadline, action=action)[0]
        if answer.error == encoding.Code.NO_NODE and self._connection.may_lag:
            # One that was granted through another server a moment ago must not be called ended.
            answer = self._connection.read([request], deadline=deadline, action=action, fresh=Fresh.SURE)[0]
        if answer.error == encoding.Code.NO_NODE:
            return None
        if answer.error:
            raise translate(answer.error, action=action, write=False)
        return encoding.read_node(answer)

    def _timeout_of(self, lease_id: LeaseId, deadline: Deadline) -> float | None:
        record = self._read_record(lease_id, deadline) if _number(lease_id) is not None else None
        return None if record is None else _ttl(record)

    def _records(self, deadline: Deadline) -> list[LeaseId]:
        action = "listing leases"
        answer = self._connection.read([encoding.get_children(self._folder)], deadline=deadline, action=action)[0]
        if answer.error == encoding.Code.NO_NODE:
            return []
        if answer.error:
            raise translate(answer.error, action=action, write=False)
        return sorted(name for name in encoding.read_children(answer) if _number(name) is not None)

    # -- many --

    def _each(self, lease_ids: Sequence[LeaseId], work: Callable[[LeaseId], T]) -> list[T]:
        """``work`` for each, several at a time; raises the first error after all have ended."""
        if len(lease_ids) <= 1:
            return [work(lease_id) for lease_id in lease_ids]
        with self._lock:
            if self._closed:
                raise StoreClosed("this store was closed")
            if self._workers is None:
                # Where the interpreter is ending it can't be imported, and a store can be opened without it.
                from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

                self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="zookeeper-lease")
            workers = self._workers
        try:
            tasks = [workers.submit(work, lease_id) for lease_id in lease_ids]
        except RuntimeError as exc:
            raise StoreClosed("this store was closed") from exc
        answers: list[T] = []
        failed: TenureError | None = None
        for task in tasks:
            try:
                answers.append(task.result())
            except TenureError as exc:
                failed = failed or exc
        if failed is not None:
            raise failed
        return answers


def _name(number: int) -> LeaseId:
    return f"{number & (1 << 64) - 1:016x}"


def _number(lease_id: LeaseId) -> int | None:
    """The session's number; ``None`` for what is no lease of ZooKeeper's."""
    try:
        number = int(lease_id, 16)
    except ValueError:
        return None
    if _name(number) != lease_id:
        return None
    return number - (1 << 64) if number >> 63 else number


def _ttl(record: encoding.Node) -> float:
    digits = record.data[16:]
    return int(digits) / 1000 if digits.isdigit() else 0.0


def _not_found(lease_id: LeaseId) -> LeaseNotFound:
    return LeaseNotFound(f"lease {lease_id!r} has ended, was revoked or never was")
