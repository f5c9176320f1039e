"""The channel to etcd and every way to call over it: deadlines, tokens, the gate for forks, translated errors.

Tokens: etcd gives one for user and password, and forgets it after some minutes or a change of its users. A
call that it refuses for that was not applied, so it is repeated once with a new token; threads that find the
same token stale share one renewal.

Nothing else is repeated here. gRPC connects, and reconnects, in the background, to the addresses that the
hosts' names had; when none of them can be connected to, names are resolved again and certificate files are looked
at. If either has changed (all pods of a cluster were replaced, a certificate was renewed), a new channel takes the
old one's place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from tenure.errors import DeadlineExceeded, StoreClosed, TenureError, Unavailable, Unsupported
from tenure.plugin_kit import Deadline, Resolver, TlsFiles, monotonic
from tenure.spi.plugin import OpenRequest
from tenure_etcd import endpoints
from tenure_etcd.errors import not_connected, stale_token, translate
from tenure_etcd.etcd3_import import import_grpc
from tenure_etcd.fork import Gate
from tenure_etcd.relay import threads_can_start

grpc = import_grpc()

from tenure_etcd.client import open_client  # noqa: E402 - loads etcd3 and with it grpc, which was to be quiet
from tenure_etcd.messages import MESSAGES, METHODS, bind  # noqa: E402 - kept beside the line above

_T = TypeVar("_T")
Metadata = tuple[tuple[str, str], ...]

_LEADER: Metadata = (("hasleader", "true"),)
"""Makes a member that has lost its leader say so at once, instead of letting the call wait for one."""

_ABOUT_KEYS = frozenset({"Range", "Put", "DeleteRange", "Txn"})
"""Calls whose answers tell the store's revision."""

_WINDOW = 64
"""Calls in flight at once in :meth:`Connection.call_many`."""

_LOOK_AGAIN_SECONDS = 5.0
"""Names are looked up no more often than this."""

_LOOK_UP_SECONDS = 1.0
"""Time that looking them up again may take out of a call that has failed already."""


class Connection:
    """One client of one etcd cluster. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        """Prepare the channel; the first call connects. Raises ``ConfigError``, ``Unavailable``."""
        self.hosts = request.hosts
        self.endpoints = endpoints.describe(request.hosts)
        self.user = request.username
        self._password = request.password
        self._gate = Gate()
        self._token_lock = threading.Lock()
        self._metadata = _LEADER
        self._token_since = float("-inf")
        self._distrusted: Metadata | None = None
        self._tls, self._options = request.tls, request.options
        self._files = None if request.tls is None else TlsFiles(request.tls)
        self._moving = threading.Lock()
        self._looked_up = monotonic()
        self._resolver = Resolver()
        self._target = endpoints.target(request.hosts, self._resolver, Deadline(request.timeout))
        self.native: Any = None
        self._calls: dict[str, Any] = {}
        self.revision = 0
        """A revision that the store has had: the one told by a call for keys that was answered just now."""
        self._connect()

    def _connect(self) -> None:
        """Make the client for the present target, and stubs on its channel."""
        native = open_client(self._target, hosts=self.hosts, tls=self._tls, options=self._options)
        calls: dict[str, Any] = {}
        for service in METHODS:
            calls.update(bind(native.channel, service))
        self._gate.keep(native)
        self.native, self._calls = native, calls

    def _look_again(self) -> None:
        """Follow the hosts' names to where they are now, and take up certificates that were renewed."""
        if not (endpoints.may_move(self.hosts) or self._files) or not self._moving.acquire(blocking=False):
            return
        try:
            # gRPC reads the files once, so another channel has to read them.
            renewed = self._files is not None and self._files.renewed()
            if not renewed and monotonic() - self._looked_up < _LOOK_AGAIN_SECONDS:
                return
            self._looked_up = monotonic()
            try:
                target = endpoints.target(self.hosts, self._resolver, Deadline(_LOOK_UP_SECONDS))
            except Unavailable:  # no name server either: what is known has to do
                target = self._target
            if renewed or target != self._target:
                old, self._target = self.native, target
                self._connect()
                self.native.metadata = old.metadata
                old.close()
                if self._gate.is_shut:
                    self.native.close()
        finally:
            self._moving.release()

    @property
    def forked(self) -> bool:
        """Whether this process inherited the connection from its parent, so that it must not be touched."""
        return self._gate.forked

    # -- calls ----------------------------------------------------------------------------------------

    def call(self, method: str, request: Any, *, timeout: float, write: bool, action: str) -> Any:
        """One call, one answer. ``write``: unanswered it is ``OutcomeUnknown``; ``action`` is for messages."""
        started = monotonic()
        metadata = self._metadata
        self._gate.enter()
        try:
            return self._noted(method, self._calls[method](request, timeout, metadata))
        except grpc.RpcError as exc:
            if self.user is None or not stale_token(exc):
                raise self._translate(exc, action, write, timeout) from exc
        except ValueError as exc:
            raise self._cut(action) from exc
        finally:
            self._gate.leave()
        metadata = self.renew(metadata, timeout=self._left(started, timeout, action))
        self._gate.enter()
        try:
            return self._noted(method, self._calls[method](request, self._left(started, timeout, action), metadata))
        except grpc.RpcError as exc:
            raise self._translate(exc, action, write, timeout) from exc
        except ValueError as exc:
            raise self._cut(action) from exc
        finally:
            self._gate.leave()

    def _noted(self, method: str, answer: Any) -> Any:
        if method in _ABOUT_KEYS:
            self.revision = answer.header.revision
        return answer

    def call_many(
        self, method: str, requests: Sequence[Any], *, timeout: float, write: bool, action: str
    ) -> list[Any | TenureError]:
        """The same call for many requests, in flight together. Answers in their order; an error takes its place."""

        def run(metadata: Metadata, todo: Sequence[int]) -> list[int]:
            """Run the calls with these numbers; answers the ones refused for their token."""
            if len(todo) == 1 or not threads_can_start():
                return run_each(metadata, todo)
            numbers = iter(todo)
            stale: list[int] = []
            while window := list(islice(numbers, _WINDOW)):
                left = max(started + timeout - monotonic(), 0.001)
                futures = [self._calls[method].future(requests[n], left, metadata) for n in window]
                for number, future in zip(window, futures, strict=True):
                    try:
                        answers[number] = future.result()
                    except grpc.RpcError as exc:
                        if self.user is not None and stale_token(exc):
                            stale.append(number)
                        answers[number] = self._translate(exc, action, write, timeout)
                        answers[number].__cause__ = exc
            return stale

        def run_each(metadata: Metadata, todo: Sequence[int]) -> list[int]:
            """The same, one after the other: calls in flight together need a thread, and the end of Python has none."""
            stale: list[int] = []
            for number in todo:
                try:
                    left = max(started + timeout - monotonic(), 0.001)
                    answers[number] = self._calls[method](requests[number], left, metadata)
                except grpc.RpcError as exc:
                    if self.user is not None and stale_token(exc):
                        stale.append(number)
                    answers[number] = self._translate(exc, action, write, timeout)
                    answers[number].__cause__ = exc
            return stale

        started = monotonic()
        answers: list[Any] = [None] * len(requests)
        metadata = self._metadata
        stale = self._gated(lambda: run(metadata, range(len(requests))), action)
        if stale:
            renewed = self.renew(metadata, timeout=self._left(started, timeout, action))
            self._gated(lambda: run(renewed, stale), action)
        return answers

    def exchange(self, method: str, requests: Sequence[Any], *, timeout: float, action: str) -> list[Any]:
        """Send ``requests`` over one stream of a call that streams both ways, and collect what comes back.

        For calls that may be repeated without harm: whatever fails, it is told like a read.
        """
        started = monotonic()
        _need_threads(action)

        def run(metadata: Metadata) -> list[Any]:
            return list(self._calls[method](iter(requests), self._left(started, timeout, action), metadata))

        metadata = self._metadata
        try:
            return self._gated(lambda: run(metadata), action)
        except grpc.RpcError as exc:
            if self.user is None or not stale_token(exc):
                raise self._translate(exc, action, False, timeout) from exc
        metadata = self.renew(metadata, timeout=self._left(started, timeout, action))
        try:
            return self._gated(lambda: run(metadata), action)
        except grpc.RpcError as exc:
            raise self._translate(exc, action, False, timeout) from exc

    def open_stream(self, method: str, requests: Iterator[Any]) -> tuple[Any, Metadata]:
        """A long-lived stream without a deadline, and the metadata it was opened with. Errors come from reading it."""
        metadata = self._metadata
        _need_threads("opening a stream")
        return self._gated(lambda: (self._calls[method](requests, metadata=metadata), metadata), "opening a stream")

    def _gated(self, run: Callable[[], _T], action: str) -> _T:
        self._gate.enter()
        try:
            return run()
        except ValueError as exc:
            raise self._cut(action) from exc
        finally:
            self._gate.leave()

    # -- tokens ---------------------------------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """What calls are sent with now; a stream opened with something else has an outdated token."""
        return self._metadata

    @property
    def token_age(self) -> float:
        """Seconds since etcd gave the present token."""
        return monotonic() - self._token_since

    def renew(self, stale: Metadata | None = None, *, timeout: float) -> Metadata:
        """Log in and answer the new metadata; if another thread has replaced ``stale`` meanwhile, that.

        Raises ``AuthenticationFailed``, ``Unavailable``.
        """
        action = "logging in"
        started = monotonic()
        if not self._token_lock.acquire(timeout=timeout):
            raise DeadlineExceeded(f"{action}: etcd at {self.endpoints} gave no token within {timeout:.3g} s")
        try:
            if stale is not None and self._metadata is not stale:
                return self._metadata
            password = self._password.reveal() if self._password is not None else ""
            request = MESSAGES["AuthenticateRequest"](name=self.user, password=password)
            left = self._left(started, timeout, action)
            try:
                answer = self._gated(lambda: self._calls["Authenticate"](request, left, _LEADER), action)
            except grpc.RpcError as exc:
                raise self._translate(exc, action, False, timeout) from exc
            self._token_since = monotonic()
            self._metadata = (*_LEADER, ("token", answer.token))
            self.native.metadata = (("token", answer.token),)
            return self._metadata
        finally:
            self._token_lock.release()

    def distrust_token(self, used: Metadata) -> None:
        """Say that the token in ``used`` was refused where no call could be repeated."""
        if used is self._metadata:
            self._distrusted = used

    def ensure_token(self, *, timeout: float) -> None:
        """Replace the token if it is distrusted; see :meth:`renew`."""
        distrusted = self._distrusted
        if distrusted is not None:
            self.renew(distrusted, timeout=timeout)
            self._distrusted = None

    # -- the end --------------------------------------------------------------------------------------

    def shut(self) -> bool:
        """Refuse further calls with ``StoreClosed``. Answers whether this was the first time."""
        return self._gate.shut()

    def close(self) -> None:
        """Cut the channel: calls in flight fail."""
        if not self._gate.forked:
            self.native.close()

    def _cut(self, action: str) -> TenureError:
        """The error for a call that found its channel closed before it had begun."""
        if self._gate.is_shut:
            return StoreClosed(f"{action}: this store was closed")
        return Unavailable(f"{action}: the connection to etcd at {self.endpoints} was just being replaced")

    def _translate(self, exc: Any, action: str, write: bool, timeout: float | None) -> TenureError:
        if not_connected(exc):
            self._look_again()
        return translate(
            exc,
            action=action,
            write=write,
            endpoints=self.endpoints,
            timeout=timeout,
            encrypted=self._tls is not None,
        )

    def translate_stream(self, exc: Any, action: str) -> TenureError:
        """The error for a stream that broke."""
        return self._translate(exc, action, False, None)

    def incomplete(self, action: str, missing: int, total: int) -> TenureError:
        """The error for a stream that ended in good order before all answers had come."""
        return Unavailable(f"{action}: etcd at {self.endpoints} left {missing} of {total} requests unanswered")

    def _left(self, started: float, timeout: float, action: str) -> float:
        left = started + timeout - monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{action}: etcd at {self.endpoints} gave no answer within {timeout:.3g} s")
        return left


def _need_threads(action: str) -> None:
    """Raise ``Unsupported`` at the end of the interpreter: gRPC would fail half way, and hang when it is closed."""
    if not threads_can_start():
        raise Unsupported(f"{action}: the interpreter is ending, and a stream needs threads; do it before the end")
