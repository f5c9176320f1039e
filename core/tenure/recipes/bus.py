"""A bus: publishers send messages, and each consumer gets every message from where it was.

Messages are numbered and bounded in number, see :mod:`tenure.recipes._messages`. Nobody tracks consumers: each keeps
its own position, and is told if messages after it were removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from tenure._client.store import Store
from tenure._runtime.clock import TimeLimit, is_number
from tenure._runtime.interruption import interruption
from tenure._steps.effects import Steps
from tenure._steps.following import Reading, follow
from tenure._steps.threads import read, run
from tenure._text import shown
from tenure.errors import DeadlineExceeded, InvalidArgument, StoreClosed, StoreCorrupted, TenureError, WaitTimeout
from tenure.recipes import _names
from tenure.recipes._messages import Entry, Messages, Position, Reader
from tenure.recipes.codec import Codec
from tenure.spi.types import KeyValue

T = TypeVar("T")

_MOST = 1000
_SETTLES = 5.0
"""Seconds, beside the watch's own latency, after which a connected watch has shown a message that the head has."""
_LOOK_AGAIN = 0.5
_DIGITS = 20
"""The most digits that the number of a message has."""


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """A message of a :class:`Bus`.

    Attributes:
        value: what was published.
        position: where it is, as a text to keep: a consumer that begins after it gets the next one.
        published_at: when it was published, by its publisher's wall clock, in seconds since 1970.
    """

    value: T
    position: str
    published_at: float


class Inbox(Generic[T]):
    """The messages of one subscription, as far as its watch has shown them. It has no I/O: a face reads the watch."""

    def __init__(self, store: Store, messages: Messages, codec: Codec[T], after: Position | None) -> None:
        self.follows: Callable[[], bool] = lambda: True
        """Whether the watch is connected."""
        self._clock = store.clock
        self._patience = _SETTLES + store.capabilities.max_watch_latency
        self._messages = messages
        self._codec = codec
        self._reader = Reader(messages, after)
        self._present: dict[str, KeyValue] = {}
        self._lacking: tuple[int | None, float] = (None, 0.0)
        """The message that is lacking, and since when the watch could have shown it."""

    @property
    def position(self) -> str:
        """The position of the last message that was read, or after which it begins."""
        return str(self._reader.position)

    def begin(self, limit: TimeLimit) -> Reading[None]:
        """Read the present state, and find the place to begin at."""
        complete = False
        while not (complete and self._reader.start(self._present)):
            if complete and self._given_up() is not None:
                return  # it begins after that one
            complete = (
                yield from self._follow(limit, DeadlineExceeded, "the present state did not come in time")
            ) or complete

    def next(self, limit: TimeLimit) -> Reading[Message[T]]:
        """Read the next message. A cancel comes in a wait, and loses none."""
        while True:
            entry = self._reader.next(self._present)
            if entry is not None:
                message = self._decode(entry)
                self._reader.position = entry.position  # so late that an interrupt in the codec loses no message
                return message
            removed = self._given_up()
            if removed is not None:
                raise removed
            yield from self._follow(limit, WaitTimeout, "no message came in time")

    def _follow(self, limit: TimeLimit, timed_out: type[TenureError], cause: str) -> Reading[bool]:
        """Wait for what the store has to tell. Returns whether the state is complete."""
        left, pause = limit.left(), None if self._lacking[0] is None else _LOOK_AGAIN
        batch = yield left if pause is None else min(pause, pause if left is None else left)
        if batch is None:
            if pause is not None and (left is None or left > pause):
                return False
            raise timed_out(f"reading {self._messages.what}: {cause}; try again, or give a longer timeout")
        return follow(self._present, batch)

    def _given_up(self) -> StoreCorrupted | None:
        """Go on after a message whose key a connected watch has not shown for long. Return what tells of it."""
        number, now = self._reader.lacks(self._present), self._clock.now()
        if number is None or number != self._lacking[0] or not self.follows():
            self._lacking = number, now
        elif now - self._lacking[1] >= self._patience:
            self._lacking = None, now
            return self._reader.skip(number)
        return None

    def _decode(self, entry: Entry) -> Message[T]:
        try:
            return Message(self._codec.decode(entry.data), str(entry.position), entry.at)
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            self._reader.position = entry.position
            raise StoreCorrupted(
                f"reading {self._messages.what}: message {entry.position.number} can't be decoded: {exc}; give all "
                "participants the same codec. The next call continues after it"
            ) from exc


class Subscription(Generic[T]):
    """The messages of a bus, in order. Made by :meth:`Bus.subscribe`. One consumer at a time."""

    def __init__(self, store: Store, inbox: Inbox[T], folder: str, timeout: float | None) -> None:
        limit = TimeLimit(store.clock, store.timeout if timeout is None else timeout)
        self._clock = store.clock
        self._inbox = inbox
        self._watch = store.watch(folder, timeout=timeout)
        inbox.follows = lambda: self._watch.staleness == 0
        try:
            read(self._watch, inbox.begin(limit))
        except BaseException:
            self._watch.close()
            raise

    @property
    def position(self) -> str:
        """The position of the last message that :meth:`next` returned, or after which it begins."""
        return self._inbox.position

    def next(self, timeout: float | None = None) -> Message[T]:
        """Wait for the next message.

        Args:
            timeout: seconds to wait; ``None`` to wait indefinitely.

        Returns:
            The next message, each once and in the order of publishing.

        Raises:
            WaitTimeout: no message came in that time.
            Compacted: messages were removed before they were read. The next call goes on with the first that is left.
            HistoryReplaced: the store's data were lost or replaced by a backup, and the messages are others now. The
                next call goes on with the first that is there.
            StoreCorrupted: a message can't be read, or another program removed it, which is noticed after some seconds.
                The next call continues after it.
            StoreClosed: this or the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return read(self._watch, self._inbox.next(TimeLimit(self._clock, timeout)))

    def __iter__(self) -> Iterator[Message[T]]:
        """Iterate until it is closed. Raises like :meth:`next`; a new iteration goes on."""
        while True:
            try:
                message = self.next()
            except StoreClosed:
                if self._watch.closed:
                    return
                raise
            yield message

    def close(self) -> None:
        """End the subscription. Idempotent, callable from any thread."""
        self._watch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Bus(Generic[T]):
    """Messages from any publisher to every consumer, in one order. Thread-safe.

    * A message is published exactly once, or refused. Only ``OutcomeUnknown`` leaves it open, when the time is up.
    * Each consumer gets every message from its position on. For one that fell behind what is kept, ``next`` raises
      ``Compacted``.
    * The bus keeps the last ``max_messages``. Publishing removes older ones, up to 8 at a time.

    Made for notices to all processes, some hundred a second at most: publishers take turns at one key.

    >>> import tenure
    >>> with tenure.connect("memory://") as store:
    ...     bus = tenure.Bus(store, "deployments", codec=tenure.TEXT)
    ...     with bus.subscribe() as messages:
    ...         position = bus.publish("web 1.2")
    ...         messages.next(timeout=10).value
    'web 1.2'

    Args:
        store: the store.
        name: the name that participants share, at most 400 bytes.
        codec: how messages are written: ``tenure.JSON``, ``tenure.TEXT``, ``tenure.BYTES``, or one of your own.
        max_messages: how many messages are kept, from 1 to 10,000. Each publisher applies its own number.
        max_age: seconds after which publishing removes a message, by the publishers' wall clocks; ``None`` for no
            limit.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL, or a bound is not in its range.
    """

    BEGINNING = str(Position())
    """The position before the first message ever: a consumer that begins after it gets all that are kept."""

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        codec: Codec[T],
        max_messages: int = _MOST,
        max_age: float | None = None,
    ) -> None:
        folder = _names.folder("bus", name)
        if not isinstance(max_messages, int) or isinstance(max_messages, bool) or not 1 <= max_messages <= 10 * _MOST:
            raise InvalidArgument(
                f"the bus {name!r}: max_messages={shown(max_messages)} is no number from 1 to {10 * _MOST}; give one"
            )
        if max_age is not None and not (is_number(max_age) and max_age > 0):
            raise InvalidArgument(
                f"the bus {name!r}: max_age={shown(max_age)} is no positive number of seconds; give one"
            )
        self._store = store
        self._codec = codec
        self._name = name
        self._messages = Messages(folder, f"the bus {name!r}", max_messages, max_age)

    @property
    def name(self) -> str:
        """The name that participants share."""
        return self._name

    def publish(self, value: T, *, timeout: float | None = None) -> str:
        """Send a message to all consumers.

        Args:
            value: the message.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            Its position.

        Raises:
            InvalidArgument: the codec can't write the message; nothing was sent.
            LimitExceeded: the message is too large.
            OutcomeUnknown: the time ran out before an answer came. Publishing again may send the message twice.
            Unavailable: the store can't be reached; nothing was published. ``DeadlineExceeded`` if the time ran out.
            StoreCorrupted: another program wrote into the bus.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return run(self._store, self._publishing(value, timeout=timeout))

    def subscribe(self, *, after: str | None = None, timeout: float | None = None) -> Subscription[T]:
        """Begin to read messages.

        Args:
            after: the position of the last message that was read, such as a consumer has kept, or :attr:`BEGINNING`.
                ``None``: begin with the messages that are published from now on.
            timeout: seconds that the call may take; by default the store's timeout.

        Returns:
            The messages. Close it when done, or use it in ``with``.

        Raises:
            InvalidArgument: ``after`` is no position.
            Unavailable: the store can't be reached. ``DeadlineExceeded`` if the time ran out.
            PermissionDenied: the store forbids the call. ``AuthenticationFailed`` if it no longer accepts the
                credentials.
            StoreClosed: the store was closed. ``UsedAfterFork`` if it belongs to the parent process.
        """
        return Subscription(self._store, self._inbox(after), self._messages.folder, timeout)

    def _inbox(self, after: str | None) -> Inbox[T]:
        position = None if after is None else _position(after, self._messages.what)
        return Inbox(self._store, self._messages, self._codec, position)

    def _publishing(self, value: T, *, timeout: float | None = None) -> Steps[str]:
        try:
            data = self._codec.encode(value)
        except Exception as exc:
            if interruption(exc) is not None:
                raise
            raise InvalidArgument(f"publishing on {self._messages.what}: {exc}; give what the codec can write") from exc
        limit = TimeLimit(self._store.clock, self._store.timeout if timeout is None else timeout)
        return str((yield from self._messages.publish(data, limit)))

    def __repr__(self) -> str:
        return f"<Bus {self.name!r}>"


def _position(text: str, what: str) -> Position:
    number, dash, own = text.partition("-") if isinstance(text, str) else ("", "", "")
    if not dash or not number.isdecimal() or len(number) > _DIGITS:
        raise InvalidArgument(f"reading {what}: after={text!r} is no position; give one that a message had")
    return Position(int(number), own)
