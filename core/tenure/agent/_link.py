"""A program's connection to the agent: calls and watches of one backend share it, and one thread reads it.

A break ends the calls and the feeds that were on the connection by ``Unavailable``. Core opens the feeds again, and the
next call or feed connects. Nothing that arrives is trusted: a message that can't be understood is a break, too.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure._runtime.worker import Worker
from tenure.agent import _wire
from tenure.agent._connection import Peer
from tenure.errors import (
    ConfigError,
    DeadlineExceeded,
    PermissionDenied,
    PluginError,
    StoreClosed,
    TenureError,
    Unavailable,
)
from tenure.spi.feed import Away, Bookmark, Changes, Deleted, Feed, Sink, Snapshot
from tenure.spi.types import KeyValue, WatchRequest

_READ = 256 * 1024
_SILENT_PINGS = 3.0
_GRACE = 1.0
_TO_UNWATCH = 0.5


@dataclass(frozen=True, slots=True)
class Hello:
    """How the agent introduces itself.

    Attributes:
        pid: its process.
        ping: seconds between its signs of life.
        store: its store's URL, without a password.
        namespace: the namespace of that URL.
        prefixes: what it serves.
        capabilities: those of its store; ``None`` while it has not reached that.
        away: how old what it serves is; ``None`` while it follows its store.
    """

    pid: int
    ping: float
    store: str
    namespace: str
    prefixes: tuple[str, ...]
    capabilities: Mapping[str, Any] | None
    away: Away | None

    @property
    def detection(self) -> float:
        """Seconds without a message after which the agent counts as gone."""
        return _SILENT_PINGS * self.ping + _GRACE


class Link:
    """The connection to the agent at ``path``, made when it is needed.

    Args:
        path: the agent's socket.
        owner: the user that the agent has to run as; ``None`` for any.
    """

    def __init__(self, path: Path, owner: int | None = None) -> None:
        self.path = path
        self._owner = owner
        self._lock = Monitor()
        self._dialling = Monitor()
        self._line: _Line | None = None
        self._closed = False

    def line(self, deadline: Deadline) -> _Line:
        """Return a connection that stands as far as anyone can tell. Raises ``Unavailable``, ``StoreClosed``."""
        with self._lock:
            line = self._checked()
        if line is not None:
            return line
        self._dialling.alone(f"connecting to the agent at {self.path}")
        try:
            if not self._dialling.acquire(timeout=deadline.remaining()):
                raise DeadlineExceeded(f"connecting to the agent at {self.path}: another call tries all the time")
            line = self._checked()
            return line if line is not None else self._dial(deadline)
        finally:
            try:
                self._dialling.leave()
            finally:
                self._dialling.leave()

    def _checked(self) -> _Line | None:
        if self._closed:
            raise StoreClosed(f"using the agent at {self.path}: the store was closed")
        return self._line if self._line is not None and self._line.error is None else None

    def _dial(self, deadline: Deadline) -> _Line:
        sock = self._connect(deadline)
        try:
            line = _Line(sock, self.path, _introduce(sock, self.path, deadline))
            with self._lock:
                self._checked()
                self._line = line
            line.start()
            return line
        except BaseException:
            sock.close()
            raise

    def _connect(self, deadline: Deadline) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(deadline.remaining())
            sock.connect(os.fspath(self.path))
            self._check_owner(sock)
        except OSError as exc:
            sock.close()
            raise _not_connected(self.path, exc) from exc
        except BaseException:
            sock.close()
            raise
        return sock

    def _check_owner(self, sock: socket.socket) -> None:
        if self._owner is not None and (uid := Peer.of(sock).uid) != self._owner:
            raise PermissionDenied(
                f"connecting to the agent at {self.path}: it runs as user {uid}, and the URL's option owner wants "
                f"{self._owner}; look who listens there"
            )

    def close(self) -> None:
        """End the connection. What is under way on it fails."""
        with self._lock:
            self._closed = True
            line, self._line = self._line, None
        if line is not None:
            line.close()


def _not_connected(path: Path, exc: OSError) -> TenureError:
    at = f"connecting to the agent at {path}"
    if exc.errno == errno.ENOENT:
        return Unavailable(f"{at}: nothing is there; start 'tenure agent --socket {path}', or use the store itself")
    if exc.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE):
        return Unavailable(f"{at}: no agent listens; start it again, or use the store itself")
    if exc.errno == errno.EACCES:
        return PermissionDenied(f"{at}: this user may not connect; see the agent's option --mode, and its folder's")
    if exc.errno in (errno.EPROTOTYPE, errno.ENOTSOCK, errno.ENAMETOOLONG) or "too long" in str(exc):
        return ConfigError(f"{at}: this can't be an agent's socket: {exc.strerror or exc}; correct the path")
    if isinstance(exc, TimeoutError) or exc.errno == errno.EAGAIN:
        return DeadlineExceeded(f"{at}: it took no connection in time; is its process stopped or very busy?")
    return Unavailable(f"{at}: {exc.strerror or exc}; look after the agent")


def _introduce(sock: socket.socket, path: Path, deadline: Deadline) -> Hello:
    """Introduce this program to the agent, and return the agent's answer."""
    at = f"connecting to the agent at {path}"
    splitter = _wire.Splitter(_wire.MAX_MESSAGE)
    try:
        sock.settimeout(deadline.remaining())
        sock.sendall(b"".join(_wire.message(0, _wire.NAME, _wire.VERSION)))
        while (found := splitter.next()) is None:
            sock.settimeout(deadline.remaining())
            # No more than this one message: what follows is for the thread that reads.
            data = sock.recv(splitter.missing)
            if not data:
                raise Unavailable(f"{at}: it ended the connection; look at its log")
            splitter.add(data)
    except OSError as exc:
        raise _not_connected(path, exc) from exc
    except _wire.Broken as exc:
        raise ConfigError(f"{at}: no agent of Tenure's answers there: {exc}; correct the path") from exc
    match found:
        case [0, "refused", kind, text]:
            raise _wire.error_of((kind, f"{at}: {text}"))
        case [0, _wire.NAME, _wire.VERSION, dict(facts)]:
            with contextlib.suppress(TypeError, ValueError, LookupError):
                return _hello(facts)
    raise ConfigError(f"{at}: what answers there is no agent of this protocol; update the older of the two")


def _hello(facts: Mapping[str, Any]) -> Hello:
    ping = float(facts["ping"])
    if not 0 < ping < 3600:
        raise ValueError
    return Hello(
        int(facts["pid"]),
        ping,
        str(facts["store"]),
        str(facts["namespace"]),
        tuple(map(str, facts["prefixes"])),
        facts["capabilities"],
        _away(facts["away"]),
    )


def _away(words: Any) -> Away | None:
    if words is None:
        return None
    age, kind, text = words
    return Away(math.inf if age is None else float(age), _wire.error_of((kind, f"the agent: {text}")))


class _Call:
    """Waits for an answer. The reader's thread fills it."""

    def __init__(self) -> None:
        self.done = Monitor()
        self.items: list[KeyValue | Deleted] = []
        self.answer: Sequence[Any] | None = None
        self.error: TenureError | None = None

    def take(self, kind: str, rest: Sequence[Any]) -> None:
        if kind == "part":
            self.items += _wire.entries(rest[0])
            return
        with self.done:
            if kind == "failed":
                self.error = _wire.error_of(rest)
            else:
                self.answer = (kind, *rest)
            self.done.notify_all()

    def fail(self, error: TenureError) -> None:
        with self.done:
            self.error = self.error or error
            self.done.notify_all()

    def away(self, away: Away | None) -> None:
        """The agent's store went away, or is back: the answer is as old as it is."""

    def wait(self, deadline: Deadline, action: str, path: Path) -> Sequence[Any]:
        with self.done:
            while self.answer is None and self.error is None:
                if deadline.expired:
                    raise DeadlineExceeded(
                        f"{action}: the agent at {path} didn't answer within {deadline.seconds:g} s; try again, or "
                        "look whether its process is stopped"
                    )
                self.done.wait(deadline.remaining())
            if self.answer is None and self.error is not None:
                raise self.error
            return self.answer or ()


class AgentFeed(Feed):
    """A watch that the agent serves."""

    def __init__(self, line: _Line, number: int, request: WatchRequest, sink: Sink) -> None:
        self._line = line
        self._number = number
        self._sink = sink
        self._revision = request.after or 0
        self._mark = request.mark
        self._entries: list[KeyValue | Deleted] = []
        self._told = False
        self._closed = False
        self.opening = _Call()

    def take(self, kind: str, rest: Sequence[Any]) -> None:
        """Take a message of the agent's: the reader's thread."""
        if kind == "part":
            self._entries += _wire.entries(rest[0])
        elif kind == "opened":
            self._mark = str(rest[0])
            self.opening.take(kind, rest)
        elif kind == "failed":
            self.fail(_wire.error_of(rest))
        else:
            self._deliver(kind, rest)

    def _deliver(self, kind: str, rest: Sequence[Any]) -> None:
        entries, self._entries = self._entries, []
        if kind == "changes":
            entries += _wire.entries(rest[0])
            self._revision = max(self._revision, int(rest[1]))
            self._sink.deliver(Changes(tuple(entries), int(rest[1]), self._mark))
            return
        self._revision, away = int(rest[0]), _away(rest[1])
        self._told = True
        if kind == "state":
            self._sink.deliver(Snapshot(state_of(entries), self._revision, self._mark, away))
        elif kind == "at":
            self._sink.deliver(Bookmark(self._revision, self._mark, away))
        else:
            raise _wire.Broken(f"a watch gets no {kind[:40]!r}")

    def away(self, away: Away | None) -> None:
        """The agent's store went away, or is back."""
        if self._told:
            self._sink.deliver(Bookmark(self._revision, self._mark, away))

    def fail(self, error: TenureError) -> None:
        """The feed has ended: told to whoever opens it, or to the sink."""
        self._line.forget(self._number)
        if self.opening.answer is None:
            self.opening.fail(error)
        elif not self._closed:
            self._sink.fail(error)

    def close(self) -> None:
        self._closed = True
        self._line.unwatch(self._number)


_Waiting = _Call | AgentFeed


class _Line:
    """One connection, from its introduction to its end."""

    def __init__(self, sock: socket.socket, path: Path, hello: Hello) -> None:
        self.hello = hello
        self.error: TenureError | None = None
        """What has ended the connection."""
        self._sock = sock
        self._path = path
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._sending = Monitor()
        self._closing = False
        self._worker = Worker(self._read, name="tenure-agent-link", on_error=self._broken)

    def start(self) -> None:
        """Begin to read. Raises ``Unavailable`` if no thread can be started."""
        self._sock.settimeout(None)
        self._worker.start("reading from the agent")

    # -- for callers --

    def ask(self, action: str, arguments: Mapping[str, object], deadline: Deadline) -> tuple[_Call, Sequence[Any]]:
        """Send a request, and wait for its answer."""
        call, number = _Call(), next(self._numbers)
        self._waiting[number] = call
        try:
            self._send((number, action, arguments), deadline)
            return call, call.wait(deadline, f"asking the agent to {action}", self._path)
        finally:
            self._waiting.pop(number, None)

    def watch(self, request: WatchRequest, arguments: Mapping[str, object], sink: Sink, deadline: Deadline) -> Feed:
        """Open a feed, and wait until the agent has accepted it."""
        number = next(self._numbers)
        feed = AgentFeed(self, number, request, sink)
        self._waiting[number] = feed
        try:
            self._send((number, "watch", arguments), deadline)
            feed.opening.wait(deadline, "opening a watch", self._path)
        except BaseException:
            feed.close()
            raise
        return feed

    def forget(self, number: int) -> None:
        """Pass on no more messages of this number."""
        self._waiting.pop(number, None)

    def unwatch(self, number: int) -> None:
        """End a watch. If the agent can't be told so soon, the connection ends, and with it all that is on it."""
        if self._waiting.pop(number, None) is not None and self.error is None:
            with contextlib.suppress(TenureError):
                self._send((number, "unwatch", {}), Deadline(_TO_UNWATCH))

    def close(self) -> None:
        """End the connection. Feeds end in silence, calls by an error."""
        self._closing = True
        self._end(StoreClosed(f"using the agent at {self._path}: the store was closed meanwhile"))
        self._worker.stop()
        self._worker.join(_GRACE)

    def _send(self, message: Sequence[object], deadline: Deadline) -> None:
        data = b"".join(_wire.message(*message))
        if len(data) > _wire.MAX_REQUEST:
            raise ConfigError(
                f"asking the agent: the request has {len(data)} bytes, and it takes {_wire.MAX_REQUEST}; ask for less"
            )
        with self._sending.alone("asking the agent"):
            if self.error is not None:
                raise self.error
            try:
                self._send_all(data, deadline)
            except OSError as exc:
                error = Unavailable(f"asking the agent at {self._path}: the connection broke: {exc}; a new one is made")
                self._end(error)
                raise error from exc
            except BaseException:  # also what a signal handler raised: half a request may be sent
                self._end(Unavailable(f"asking the agent at {self._path}: interrupted; a new connection is made"))
                raise

    def _send_all(self, data: bytes, deadline: Deadline) -> None:
        sent = 0
        while sent < len(data):
            try:
                sent += self._sock.send(data[sent:], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                deadline.check("asking the agent")
                _writable(self._sock, deadline.within(_GRACE))

    # -- the reader's thread --

    def _read(self) -> None:
        splitter = _wire.Splitter(_wire.MAX_MESSAGE)
        silence = self.hello.detection
        try:
            while self.error is None:
                if not _readable(self._sock, silence):
                    raise DeadlineExceeded(
                        f"watching: the agent at {self._path} sent nothing for {silence:g} s; is its process stopped?"
                    )
                data = self._sock.recv(_READ)
                if not data:
                    raise Unavailable(f"watching: the agent at {self._path} ended the connection; a new one is made")
                splitter.add(data)
                while (message := splitter.next()) is not None:
                    self._take(message)
        except OSError as exc:
            raise Unavailable(f"watching: the connection to the agent at {self._path} broke: {exc}") from exc
        except (_wire.Broken, TypeError, ValueError, LookupError) as exc:
            raise Unavailable(f"watching: the agent at {self._path} sent what can't be read: {exc}") from exc
        finally:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            with self._sending:  # nobody sends by a number that may be another file's by then
                self._sock.close()

    def _take(self, message: list[Any]) -> None:
        number, kind, *rest = message
        if number:
            waiting = self._waiting.get(number)
            if waiting is not None:
                waiting.take(kind, rest)
        elif kind == "away":
            self._all(lambda waiting: waiting.away(_away(rest)))
        elif kind == "back":
            self._all(lambda waiting: waiting.away(None))
        elif kind == "refused":
            raise Unavailable(f"the agent at {self._path} refuses this program: {rest[1]}")

    def _all(self, tell: Callable[[_Waiting], object]) -> None:
        for waiting in tuple(self._waiting.values()):
            tell(waiting)

    def _broken(self, error: TenureError) -> None:
        if isinstance(error, PluginError):
            error = Unavailable(f"the connection to the agent at {self._path} failed: {error}")
        self._end(error)

    def _end(self, error: TenureError) -> None:
        self.error = self.error or error
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        waiting = tuple(self._waiting.values())
        self._waiting.clear()
        for each in waiting:
            if not self._closing or isinstance(each, _Call):
                each.fail(self.error)


def state_of(entries: Sequence[KeyValue | Deleted]) -> tuple[KeyValue, ...]:
    """Return the state that is sent as an earlier one and the changes since, in the order of the keys."""
    state: dict[str, KeyValue] = {}
    for entry in entries:
        if isinstance(entry, Deleted):
            state.pop(entry.key, None)
        else:
            state[entry.key] = entry
    return tuple(state[key] for key in sorted(state))


def _readable(sock: socket.socket, seconds: float) -> bool:
    return _poll(sock, seconds, write=False)


def _writable(sock: socket.socket, seconds: float) -> bool:
    return _poll(sock, seconds, write=True)


def _poll(sock: socket.socket, seconds: float, *, write: bool) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT if write else select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))
