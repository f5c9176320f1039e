"""The connection that everything but leases shares: requests with deadlines, and what is known of their outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

from tenure.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    LimitExceeded,
    OutcomeUnknown,
    StoreClosed,
    TenureError,
    Unavailable,
)
from tenure.plugin_kit import Deadline, Monitor
from tenure.spi.keys import namespace_prefix
from tenure.spi.plugin import OpenRequest
from tenure_zookeeper import encoding
from tenure_zookeeper.auth import Logins
from tenure_zookeeper.client import Call, Client
from tenure_zookeeper.endpoints import Servers
from tenure_zookeeper.errors import translate
from tenure_zookeeper.history_evidence import History
from tenure_zookeeper.revisions import Revisions
from tenure_zookeeper.version_cache import VersionCache

_FRAMING = 64
_WORLD = encoding.Acl(31, "world", "anyone")
_CREATOR = encoding.Acl(31, "auth", "")
_READERS = encoding.Acl(1, "world", "anyone")
_ACLS = {"open": (_WORLD,), "creator": (_CREATOR,), "read": (_CREATOR, _READERS)}


class Fresh(Enum):
    """What goes ahead of a read where there are several servers, and the one asked may be behind."""

    AS_IS = auto()
    """Nothing: what this server has, for reads that are checked by a write or follow a read that wasn't ``AS_IS``."""
    AS_CHOSEN = auto()
    """What the option ``reads`` says."""
    SURE = auto()
    """A write that changes nothing. The leader gives it a place after all that was acknowledged before, and a server
    answers it when it has applied everything up to there; what is read next on the session isn't older."""


class Connection:
    """A kazoo client, started by :meth:`start`, and the settings that all modules need. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        self.endpoints = Servers(request)
        self.logins = Logins(request)
        self.login = self.logins.first
        self.acl = _ACLS[request.options["acl"]]
        self.private_acl = (_CREATOR,) if self.login.user is not None else (_WORLD,)
        self.max_packet: int = request.options["max_packet_bytes"]
        self.namespace = namespace_prefix(request.namespace)
        """What all keys begin with."""
        self.versions = VersionCache()
        self.history = History()
        self.losses = 0
        """How often the connection broke. What was read before a break may be of data that are lost."""
        self.ensemble = True
        """Whether there are several servers, so that the one asked may be behind another."""
        self.quorum_reads: bool = request.options["reads"] == "quorum"
        self.modern = True
        """Whether the server has multi-reads, persistent watches and containers."""
        self._revisions = Revisions()
        self._reached = 0
        self._reached_lock = Monitor()
        self._closed = False
        self._client: Client | None = None
        self._on_event: Callable[[str], None] = lambda path: None
        self._on_lost: Callable[[TenureError], None] = lambda error: None

    def listen(self, on_event: Callable[[str], None], on_lost: Callable[[TenureError], None]) -> None:
        """Who is told of watch events, and of the loss of the connection, in kazoo's reading thread."""
        self._on_event, self._on_lost = on_event, on_lost

    def start(self, *, session_timeout: float, timeout: float) -> None:
        """Connect; raises ``Unavailable`` or ``AuthenticationFailed``."""
        client = self._client = Client(
            self.endpoints,
            session_timeout=session_timeout,
            logins=self.logins,
            on_event=self._event,
            on_lost=self._lost,
            on_replaced=self._replaced,
        )
        if not client.start_async().wait(timeout):
            raise DeadlineExceeded(f"ZooKeeper at {self.endpoints} didn't answer within {timeout:.1f} s")

    @property
    def native(self) -> Any:
        """The ``kazoo.client.KazooClient``."""
        return self._client

    @property
    def may_lag(self) -> bool:
        """Whether a read ``AS_CHOSEN`` may miss what another server has acknowledged."""
        return self.ensemble and not self.quorum_reads

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def ensure_open(self) -> None:
        """Raise ``StoreClosed`` after :meth:`close`."""
        if self._closed:
            raise StoreClosed("this store was closed")

    def close(self) -> None:
        """Stop the client and its threads, within some seconds even if the server is frozen."""
        self._closed = True
        client = self._client
        if client is not None:
            client.finish()

    # -- requests --

    def send(self, requests: Sequence[encoding.Request], *, action: str) -> list[Call]:
        """Put requests on their way, in this order. Raises ``Unavailable`` when there is no connection."""
        self.ensure_open()
        client = self._client
        if client is None or not client.connected:
            if client is not None and client.refusal is not None:
                raise AuthenticationFailed(f"{action}: {client.refusal}") from client.refusal
            raise Unavailable(f"{action}: not connected to ZooKeeper at {self.endpoints}")
        for request in requests:
            self.check_size(request, action=action)
        return client.submit(list(requests))

    def fits(self, request: encoding.Request) -> bool:
        """Whether the server takes a packet of this size."""
        return len(request.body) + _FRAMING <= self.max_packet

    def check_size(self, request: encoding.Request, *, action: str) -> None:
        """Raise ``LimitExceeded`` for a packet that would make the server close the connection."""
        if not self.fits(request):
            raise LimitExceeded(
                f"{action}: the request has {len(request.body)} bytes and ZooKeeper's jute.maxbuffer is "
                f"{self.max_packet} (option max_packet_bytes): write less at once"
            )

    def call(
        self, request: encoding.Request, *, deadline: Deadline, action: str, write: bool = False
    ) -> encoding.Reply:
        """Send one request and wait for its answer, whatever its code is, by ``deadline``.

        Without one: ``Unavailable`` or ``DeadlineExceeded`` if it wasn't sent or is no write, else ``OutcomeUnknown``.
        """
        return self.calls([request], deadline=deadline, action=action, write=write)[0]

    def calls(
        self, requests: Sequence[encoding.Request], *, deadline: Deadline, action: str, write: bool = False
    ) -> list[encoding.Reply]:
        """Like :meth:`call` for several requests that follow each other without waiting."""
        return [
            self.wait_for(call, deadline=deadline, action=action, write=write)
            for call in self.send(requests, action=action)
        ]

    def read(
        self, requests: Sequence[encoding.Request], *, deadline: Deadline, action: str, fresh: Fresh = Fresh.AS_CHOSEN
    ) -> list[encoding.Reply]:
        """Read on this connection, as fresh as asked for. Codes are left to the caller."""
        if not self.ensemble:
            return self.calls(requests, deadline=deadline, action=action)
        if fresh is Fresh.AS_IS:
            return self._told(self.calls(requests, deadline=deadline, action=action))
        if self.may_lag and fresh is not Fresh.SURE:
            _, answers = self._after(encoding.sync("/"), requests, deadline=deadline, action=action)
            if answers[-1].zxid >= self._reached:
                return self._told(answers)
        # An empty transaction needs no rights, and the server can't refuse it, so that it always has its place.
        nothing, answers = self._after(encoding.multi(()), requests, deadline=deadline, action=action)
        return self._told(answers, nothing)

    def reached(self, zxid: int) -> None:
        """A lease's own connection has seen this zxid: reads on this one, to another server maybe, won't go behind."""
        with self._reached_lock:
            self._reached = max(self._reached, zxid)

    def unchanged(self, answer: encoding.Reply) -> int:
        """The store's revision at a multi that only checked: it took a zxid and changed nothing."""
        return self._revisions.of(answer.zxid, answer.zxid) if self.ensemble else answer.zxid

    def answered(self) -> int:
        """A revision that the server asked has reached, and up to which all its watch events have been passed on."""
        zxid: int = 0 if self._client is None else self._client.last_zxid
        return self._revisions.of(zxid) if self.ensemble else zxid

    def _after(
        self, first: encoding.Request, requests: Sequence[encoding.Request], *, deadline: Deadline, action: str
    ) -> tuple[int, list[encoding.Reply]]:
        """The zxid of ``first``, and the answers to the rest."""
        caught_up, *answers = self.calls([first, *requests], deadline=deadline, action=action)
        if caught_up.error:
            raise translate(caught_up.error, action=action, write=False)
        return caught_up.zxid, answers

    def _told(self, answers: list[encoding.Reply], nothing: int = 0) -> list[encoding.Reply]:
        return [answer._replace(zxid=self._revisions.of(answer.zxid, nothing)) for answer in answers]

    def wait_for(self, call: Call, *, deadline: Deadline, action: str, write: bool = False) -> encoding.Reply:
        """The answer to a request of :meth:`send`; errors as for :meth:`call`."""
        in_time = call.wait(deadline.remaining())
        if call.reply is not None:
            return call.reply
        unsent = call.take_back()
        if not write or unsent:
            if in_time:
                raise Unavailable(f"{action}: the connection to ZooKeeper was lost") from call.lost
            raise DeadlineExceeded(f"{action}: no answer from ZooKeeper at {self.endpoints} in time")
        what = "the connection to ZooKeeper was lost" if in_time else "no answer from ZooKeeper in time"
        raise OutcomeUnknown(f"{action}: {what} after it was sent; it may have been applied") from call.lost

    def _event(self, path: str) -> None:
        self._on_event(path)

    def _replaced(self) -> None:
        self.history.replaced()
        self.versions.forget()
        self._revisions = Revisions()
        with self._reached_lock:
            self._reached = 0

    def _lost(self) -> None:
        self.losses += 1
        self.versions.forget()
        kind = DeadlineExceeded if self._client is not None and self._client.silent else Unavailable
        self._on_lost(kind(f"the connection to ZooKeeper at {self.endpoints} was lost"))
