"""Every way to call etcd: deadlines, tokens, the gate for forks, another member's turn, translated errors.

Tokens: etcd gives one for user and password, and forgets it after some minutes or a change of its users. A
call that it refuses for that was not applied, so it is repeated once with a new token; threads that find the
same token stale share one renewal.

A call that was certainly not applied is sent to the next member: nothing could be connected to, or the member said
that it has no leader or is a learner. Nothing else is repeated here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from tenure.errors import AuthenticationFailed, DeadlineExceeded, StoreClosed, TenureError, Unavailable, Unsupported
from tenure.plugin_kit import Deadline, monotonic
from tenure.spi.credentials import Login
from tenure.spi.plugin import OpenRequest
from tenure_etcd import endpoints
from tenure_etcd.errors import ask_another, broken, silent, stale_token, translate
from tenure_etcd.etcd3_import import import_grpc
from tenure_etcd.fork import Gate
from tenure_etcd.history import History
from tenure_etcd.relay import threads_can_start

grpc = import_grpc()

from tenure_etcd.members import Member, Members  # noqa: E402 - loads etcd3 and with it grpc, which was to be quiet
from tenure_etcd.messages import MESSAGES  # noqa: E402 - kept beside the line above

_T = TypeVar("_T")
Metadata = tuple[tuple[str, str], ...]
Proof = Callable[[Member, float], None]
"""Trusts a member within some seconds, or raises."""

_LEADER: Metadata = (("hasleader", "true"),)
"""Makes a member that has lost its leader say so at once, instead of letting the call wait for one."""

_ABOUT_KEYS = frozenset({"Range", "Put", "DeleteRange", "Txn"})
"""Calls whose answers are linearizable and tell the store's revision."""

_WINDOW = 64
"""Calls in flight at once in :meth:`Connection.call_many`."""


class Connection:
    """One client of one etcd cluster. Thread-safe."""

    def __init__(self, request: OpenRequest) -> None:
        """Prepare the members; the first call connects. Raises ``ConfigError``."""
        self.hosts = request.hosts
        self.endpoints = endpoints.describe(request.hosts)
        self._credentials = request.login_source()
        self.user = self._credentials.current().username
        self.history = History()
        self.first_keys: dict[bytes, int] = {}
        """With how many keys a list of the range with this end begins; see ``reads``."""
        self._encrypted = request.tls is not None
        self._gate = Gate()
        self._token_lock = threading.Lock()
        self._metadata = _LEADER
        self._token_since = float("-inf")
        self._distrusted: Metadata | None = None
        self._members = Members(request)
        self._gate.keep(self._members)

    @property
    def native(self) -> Any:
        """The etcd3 client of the member that is asked first."""
        return self._members.best.client

    @property
    def forked(self) -> bool:
        """Whether this process inherited the connection from its parent, so that it must not be touched."""
        return self._gate.forked

    # -- calls ----------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        request: Any,
        *,
        timeout: float,
        write: bool,
        action: str,
        member: Member | None = None,
        proof: Proof | None = None,
    ) -> Any:
        """One call, one answer.

        ``write``: unanswered it is ``OutcomeUnknown``; ``action`` is for messages. ``member``: the only one to ask.
        ``proof``: is run before the call is sent over a connection that was made since the last proof.
        """
        started, left, metadata = monotonic(), timeout, self._metadata
        attempts: _Attempts | None = None
        while True:
            failure = None
            self._gate.enter()
            try:
                chosen = member or self._members.best
                if not chosen.ready:
                    chosen = self._ready(member, left)
                    left = self._left(started, timeout, action)
                if proof is None or chosen.trusted:
                    before = self.history.latest
                    answer = chosen.calls[method](request, left, metadata)
                    if method in _ABOUT_KEYS:
                        self.history.note(answer.header, before)
                    return answer
            except grpc.RpcError as exc:
                failure = exc
            except ValueError as exc:
                raise self._cut(action) from exc
            finally:
                self._gate.leave()
            attempts = attempts or _Attempts(self, started, timeout, action, pinned=member)
            metadata = attempts.after(chosen, failure, proof, write)
            left = attempts.left()

    def connected(self, timeout: float, action: str) -> Member:
        """A member with a connection. Raises ``Unavailable``; nothing was sent then."""
        return self._gated(lambda: self._ready(None, timeout), action)

    def _ready(self, member: Member | None, seconds: float) -> Member:
        if member is None:
            return self._members.connect(seconds)
        if not member.ready:
            member.connect(Deadline(seconds))
        return member

    def status(self, member: Member, *, timeout: float) -> Any:
        """etcd's ``StatusResponse`` of this member. Users without rights may be refused by later versions of etcd."""
        action = "asking for the server's version"
        request = MESSAGES["StatusRequest"]()
        return self.call("Status", request, timeout=timeout, write=False, action=action, member=member)

    def call_many(
        self, method: str, requests: Sequence[Any], *, timeout: float, write: bool, action: str
    ) -> list[Any | TenureError]:
        """The same call for many requests, in flight together. Answers in their order; an error takes its place."""
        started = monotonic()
        metadata, member = self._metadata, self.connected(timeout, action)
        calls = _ManyCalls(self, member, method, requests, Deadline(timeout), write=write, action=action)
        stale = self._gated(lambda: calls.run(metadata, range(len(requests))), action)
        if stale:
            renewed = self.renew(metadata, timeout=self._left(started, timeout, action))
            self._gated(lambda: calls.run(renewed, stale), action)
        return calls.answers

    def exchange(self, method: str, requests: Sequence[Any], *, timeout: float, action: str) -> list[Any]:
        """Send ``requests`` over one stream of a call that streams both ways, and collect an answer for each.

        For calls that may be repeated without harm: whatever fails, it is told like a read.
        """
        _need_threads(action)
        attempts, left = _Attempts(self, monotonic(), timeout, action), timeout
        metadata = self._metadata
        while True:
            member = self.connected(left, action)
            left = attempts.left()
            try:
                return self._gated(
                    lambda: _answers(member.calls[method], requests, left, metadata),  # noqa: B023 - run now
                    action,
                )
            except grpc.RpcError as exc:
                metadata = attempts.after(member, exc, None, False)
            left = attempts.left()

    def open_stream(self, method: str, requests: Iterator[Any], *, timeout: float) -> tuple[Any, Metadata, Member]:
        """A long-lived stream without a deadline, the metadata it was opened with, and the member that has it.

        Errors come from reading it.
        """
        action = "opening a stream"
        _need_threads(action)
        metadata, member = self._metadata, self.connected(timeout, action)
        return self._gated(lambda: member.calls[method](requests, metadata=metadata), action), metadata, member

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
            login = self._credentials.current()
            try:
                answer = self._authenticate(login, Deadline(self._left(started, timeout, action)))
            except AuthenticationFailed:
                if not self._credentials.refused(login):
                    raise
                login = self._credentials.current()
                answer = self._authenticate(login, Deadline(self._left(started, timeout, action)))
            self._token_since = monotonic()
            self._metadata = (*_LEADER, ("token", answer.token))
            self._members.log_in((("token", answer.token),))
            return self._metadata
        finally:
            self._token_lock.release()

    def _authenticate(self, login: Login, deadline: Deadline) -> Any:
        action = "logging in"
        password = login.password.reveal() if login.password is not None else ""
        request = MESSAGES["AuthenticateRequest"](name=login.username, password=password)
        member = self.connected(deadline.remaining(), action)
        try:
            return self._gated(lambda: member.calls["Authenticate"](request, deadline.remaining(), _LEADER), action)
        except grpc.RpcError as exc:
            raise self._failed(member, exc, action, False, deadline.seconds) from exc

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
        """Cut the channels: calls in flight fail."""
        if not self._gate.forked:
            self._members.close()

    def _cut(self, action: str) -> TenureError:
        """The error for a call that found its channel closed before it had begun."""
        if self._gate.is_shut:
            return StoreClosed(f"{action}: this store was closed")
        return Unavailable(f"{action}: the connection to etcd at {self.endpoints} was just being replaced")

    def _failed(self, member: Member, exc: Any, action: str, write: bool, timeout: float | None) -> TenureError:
        """The error for a call to ``member``; what it shows of the member is noted."""
        if broken(exc) or ask_another(exc):
            member.trusted = False
            self._members.failed(member)
        return translate(
            exc, action=action, write=write, endpoints=self.endpoints, timeout=timeout, encrypted=self._encrypted
        )

    def stream_failed(self, member: Member, exc: Any, action: str) -> TenureError:
        """The error for a stream that broke: ``DeadlineExceeded`` if keep-alive probes went unanswered."""
        error = self._failed(member, exc, action, False, None)
        if type(error) is Unavailable and silent(exc):
            return DeadlineExceeded(str(error))
        return error

    def incomplete(self, action: str, missing: int, total: int) -> TenureError:
        """The error for a stream that ended in good order before all answers had come."""
        return Unavailable(f"{action}: etcd at {self.endpoints} left {missing} of {total} requests unanswered")

    def _left(self, started: float, timeout: float, action: str) -> float:
        left = started + timeout - monotonic()
        if left <= 0:
            raise DeadlineExceeded(f"{action}: etcd at {self.endpoints} gave no answer within {timeout:.3g} s")
        return left


def _answers(call: Any, requests: Sequence[Any], timeout: float, metadata: Metadata) -> list[Any]:
    """Send all requests on one stream, and end it once each is answered.

    The stream stays open until then: etcd's grpc-proxy drops what it hasn't answered when its client ends the sending.
    """
    answered = threading.Event()

    def outgoing() -> Iterator[Any]:
        yield from requests
        answered.wait(timeout)

    stream = call(outgoing(), timeout, metadata)
    try:
        return list(islice(stream, len(requests)))
    finally:
        answered.set()
        stream.cancel()


class _ManyCalls:
    """The same call with many requests at one member."""

    def __init__(
        self,
        connection: Connection,
        member: Member,
        method: str,
        requests: Sequence[Any],
        deadline: Deadline,
        *,
        write: bool,
        action: str,
    ) -> None:
        self._connection, self._member, self._call = connection, member, member.calls[method]
        self._requests = requests
        self._deadline = deadline
        self._write, self._action = write, action
        self.answers: list[Any] = [None] * len(requests)

    def run(self, metadata: Metadata, numbers: Sequence[int]) -> list[int]:
        """Run the calls with these numbers, in flight together. Returns the ones refused for their token."""
        if len(numbers) == 1 or not threads_can_start():  # calls in flight together need a thread
            return [number for number in numbers if self._is_stale(number, partial(self._one, number, metadata))]
        waiting = iter(numbers)
        stale: list[int] = []
        while window := list(islice(waiting, _WINDOW)):
            left = self._deadline.remaining()
            futures = [self._call.future(self._requests[number], left, metadata) for number in window]
            stale += [
                number for number, future in zip(window, futures, strict=True) if self._is_stale(number, future.result)
            ]
        return stale

    def _one(self, number: int, metadata: Metadata) -> Any:
        return self._call(self._requests[number], self._deadline.remaining(), metadata)

    def _is_stale(self, number: int, result: Callable[[], Any]) -> bool:
        """Record one answer. Returns whether it was refused for its token."""
        try:
            self.answers[number] = result()
        except grpc.RpcError as exc:
            seconds = self._deadline.seconds
            error = self._connection._failed(self._member, exc, self._action, self._write, seconds)
            error.__cause__ = exc
            self.answers[number] = error
            return self._connection.user is not None and stale_token(exc)
        return False


class _Attempts:
    """The attempts of one call: one at each member that certainly didn't apply it, and one with a new token."""

    def __init__(
        self, connection: Connection, started: float, timeout: float, action: str, *, pinned: Member | None = None
    ) -> None:
        self._connection, self._started, self._timeout, self._action = connection, started, timeout, action
        self._elsewhere = 0 if pinned is not None else len(connection._members) - 1
        self._renewed = connection.user is None
        self._metadata = connection.metadata

    def left(self) -> float:
        """Seconds that are left. Raises ``DeadlineExceeded`` if there are none."""
        return self._connection._left(self._started, self._timeout, self._action)

    def after(self, member: Member, failure: Any, proof: Proof | None, write: bool) -> Metadata:
        """Prepare the next attempt after ``failure``, or after none: then ``member`` has to be proven first.

        Returns what the next attempt is sent with. Raises if there is none.
        """
        if failure is None and proof is not None:
            proof(member, self.left())
        elif not self._renewed and stale_token(failure):
            self._renewed = True
            self._metadata = self._connection.renew(self._metadata, timeout=self.left())
        elif self._elsewhere and ask_another(failure):
            self._elsewhere -= 1
            self._connection._members.failed(member)
        else:
            raise self._connection._failed(member, failure, self._action, write, self._timeout) from failure
        return self._metadata


def _need_threads(action: str) -> None:
    """Raise ``Unsupported`` at the end of the interpreter: gRPC would fail half way, and hang when it is closed."""
    if not threads_can_start():
        raise Unsupported(f"{action}: the interpreter is ending, and a stream needs threads; do it before the end")
