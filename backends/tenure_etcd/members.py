"""The members that the URL names: a channel to each, made at first use, and which of them is asked.

A channel for each host, since every member may have a certificate of its own name, and since a channel to one host
shows when its connection broke: it becomes idle, and connects again only when the next call wants it. gRPC's state of
the channel is read through its Cython object; the public way to it runs a thread for each channel, and is late.

The host that worked last is asked until it fails; stores begin with a random one, so that load spreads. gRPC connects
to the addresses that a host's name had. When none of them can be connected to, the name is resolved again and
certificate files are looked at. If either has changed (a pod was replaced, a certificate was renewed), a new channel
takes the old one's place.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

from tenure.errors import DeadlineExceeded, TenureError, Unavailable
from tenure.plugin_kit import Deadline, Endpoints, Resolver, TlsFiles, monotonic, wall_clock
from tenure.spi.plugin import Host, OpenRequest, Tls
from tenure_etcd import endpoints
from tenure_etcd.errors import translate
from tenure_etcd.etcd3_import import import_grpc

grpc = import_grpc()

from tenure_etcd.client import open_client  # noqa: E402 - loads etcd3 and with it grpc, which was to be quiet
from tenure_etcd.messages import MESSAGES, METHODS, bind  # noqa: E402 - kept beside the line above

_READY = grpc.ChannelConnectivity.READY.value[0]
_FAILED = grpc.ChannelConnectivity.TRANSIENT_FAILURE.value[0]

_LOOK_AGAIN_SECONDS = 5.0
"""Names are looked up no more often than this."""

_LOOK_UP_SECONDS = 1.0
"""Time that looking them up again may take out of a call that has failed already."""

_SLICE_SECONDS = 0.2
"""The longest wait for gRPC at one time: it counts on the wall clock, which may jump."""

Version = tuple[int, ...]


class Files:
    """Counts the renewals of the TLS files, for all members. Thread-safe."""

    def __init__(self, tls: Tls | None) -> None:
        self._files = None if tls is None else TlsFiles(tls)
        self._lock = threading.Lock()
        self._renewals = 0

    def renewals(self) -> int:
        """Look at the files, and return how often they were renewed since the store was opened."""
        if self._files is not None:
            with self._lock:
                self._renewals += self._files.renewed()
        return self._renewals


class Member:
    """One host of the URL and the channel to it. Thread-safe.

    ``breaks``: how often its connection was found to be gone. ``trusted``: the member was shown to have the store's
    history since its connection was made.
    ``version``: what the member said of its version since then; ``None`` before, empty where this user may not know.
    """

    def __init__(
        self, host: Host, *, tls: Tls | None, files: Files, options: Mapping[str, Any], resolver: Resolver
    ) -> None:
        self.host = host
        self.breaks = 0
        self.trusted = False
        self.version: Version | None = None
        self.client: Any = None
        self.calls: dict[str, Any] = {}
        self._tls, self._files, self._options, self._resolver = tls, files, options, resolver
        self._lock = threading.Lock()
        self._state: Any = None
        self._target = ""
        self._looked_up = 0.0
        self._renewals = 0
        self._metadata: Any = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether there is a connection. Without one nothing that was shown of the member counts any more."""
        state = self._state
        if state is not None and state.check_connectivity_state(False) == _READY:
            return True
        self.breaks += 1
        self.trusted, self.version = False, None
        return False

    def connect(self, deadline: Deadline) -> None:
        """Return once there is a connection. Raises ``Unavailable``; nothing was sent. ``ValueError`` after a close."""
        if self._state is None:
            self._open(deadline)
        while True:
            channel = self._state
            state = channel.check_connectivity_state(True)
            if state == _READY:
                return
            if state == _FAILED:
                raise self._refused()
            if deadline.expired:
                raise DeadlineExceeded(
                    f"connecting to etcd: {self.host} gave no answer within {deadline.seconds:.3g} s"
                )
            channel.watch_connectivity_state(state, wall_clock() + min(_SLICE_SECONDS, deadline.remaining()))

    def log_in(self, metadata: Any) -> None:
        """Give the etcd3 client, now and when it is made again, what its calls are to be sent with."""
        self._metadata = metadata
        if self.client is not None:
            self.client.metadata = metadata

    def close(self) -> None:
        """Cut the channel: calls in flight fail, and another channel is never made."""
        self._closed = True
        if self.client is not None:
            self.client.close()

    def _open(self, deadline: Deadline) -> None:
        if not self._lock.acquire(timeout=deadline.remaining()):
            raise DeadlineExceeded(f"connecting to etcd: looking up {self.host.name!r} takes too long")
        try:
            if self._state is None:
                self._renewals = self._files.renewals()
                self._make(endpoints.target((self.host,), self._resolver, deadline))
        finally:
            self._lock.release()

    def _make(self, target: str) -> None:
        """Make the client for ``target``, and stubs on its channel; the first call connects."""
        old = self.client
        client = open_client(target, hosts=(self.host,), tls=self._tls, options=self._options)
        calls: dict[str, Any] = {}
        for service in METHODS:
            calls.update(bind(client.channel, service))
        client.metadata = self._metadata
        self._target, self._looked_up = target, monotonic()
        self.client, self.calls, self._state = client, calls, _innermost(client.channel)
        if old is not None:
            old.close()
        if self._closed:
            client.close()

    def _refused(self) -> TenureError:
        """Why the connection failed. gRPC tells it only to a call, and fails that at once."""
        try:
            self.calls["Status"](MESSAGES["StatusRequest"](), _LOOK_UP_SECONDS)
        except grpc.RpcError as exc:
            self._look_again()
            return translate(
                exc,
                action="connecting",
                write=False,
                endpoints=str(self.host),
                timeout=_LOOK_UP_SECONDS,
                encrypted=self._tls is not None,
            )
        return Unavailable(f"connecting to etcd: {self.host} could not be connected to a moment ago")

    def _look_again(self) -> None:
        """Follow the host's name to where it is now, and take up certificates that were renewed."""
        renewals = self._files.renewals()
        # gRPC reads the files once, so another channel has to read them.
        renewed = renewals != self._renewals
        moved = endpoints.may_move((self.host,)) and monotonic() - self._looked_up >= _LOOK_AGAIN_SECONDS
        if not (renewed or moved) or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked_up, self._renewals = monotonic(), renewals
            try:
                target = endpoints.target((self.host,), self._resolver, Deadline(_LOOK_UP_SECONDS))
            except Unavailable:  # no name server either: what is known has to do
                target = self._target
            if renewed or _addresses(target) != _addresses(self._target):
                self._make(target)
        finally:
            self._lock.release()


def _innermost(channel: Any) -> Any:
    """Return gRPC's own channel, which knows the state of its connection, within those of interceptors."""
    while not hasattr(channel, "check_connectivity_state"):
        channel = channel._channel
    return channel


class Members:
    """All members of one cluster that the URL names. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        """Connect to none yet. Raises ``ConfigError`` for TLS files that can't be used."""
        files, resolver = Files(request.tls), Resolver()
        self._members = {
            host: Member(host, tls=request.tls, files=files, options=request.options, resolver=resolver)
            for host in request.hosts
        }
        self._endpoints = Endpoints(random.sample(list(self._members), len(self._members)))

    def __len__(self) -> int:
        return len(self._members)

    @property
    def best(self) -> Member:
        """The member that is asked first."""
        return self._members[self._endpoints.best]

    def connect(self, seconds: float) -> Member:
        """A member with a connection, the best one if possible, within ``seconds``.

        Raises ``Unavailable`` if there is none; nothing was sent then.
        """
        best = self.best
        if best.ready:  # nearly always, and each opening of a watch asks
            return best
        return self._endpoints.connect(Deadline(seconds), self._connect, action="connecting to etcd")

    def failed(self, member: Member) -> None:
        """Ask another member first from now on."""
        self._endpoints.report_failure(member.host)

    def log_in(self, metadata: Any) -> None:
        """See :meth:`Member.log_in`."""
        for member in self._members.values():
            member.log_in(metadata)

    def close(self) -> None:
        """Cut all channels."""
        for member in self._members.values():
            member.close()

    def _connect(self, host: Host, deadline: Deadline) -> Member:
        member = self._members[host]
        if not member.ready:
            member.connect(deadline)
        return member


def _addresses(target: str) -> list[str]:
    """The addresses of a target, whatever the order in which a name server told them."""
    return sorted(target.partition(":")[2].split(","))
