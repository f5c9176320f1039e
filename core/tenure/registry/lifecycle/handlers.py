"""Call the application's handlers on the store's pool of threads: each handler's events in order, none delays another.

A handler may call the registry and the store. What it raises is logged, ``SystemExit`` included.

A slow handler doesn't make memory grow. If too many events wait for it, those of the same instance are merged into one
with the same effect, so the number of instances bounds the number of waiting events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from tenure._runtime.callback_pool import Strand
from tenure._runtime.deadline import Deadline
from tenure._runtime.monitor import Monitor
from tenure._runtime.observed_work import ObservedWork, told
from tenure.registry.model.events import EventType, Handler, InstanceEvent, StatusChange, StatusHandler
from tenure.registry.model.instance import Instance

_log = logging.getLogger("tenure.registry")
_MOST_WAITING = 10_000
_SHORT_WAIT = 0.05
"""Seconds after which a closing thread looks again whether a thread of the pool has taken over."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event of the entry ``key``."""

    key: str
    event: InstanceEvent


class _Subscriber:
    """One handler with what waits for it. ``condition`` is the dispatcher's, and guards the fields."""

    def __init__(
        self,
        call: Callable[[_Waiting | StatusChange], object],
        *,
        condition: Monitor,
        strand: Callable[[Callable[[], object]], Strand],
        most_waiting: int,
        observed: ObservedWork | None,
    ) -> None:
        self._observed = observed
        self._call = call
        self._condition = condition
        self._most_waiting = most_waiting
        self._compact_at = most_waiting
        self._queue: deque[_Waiting | StatusChange] = deque()
        self._strand = strand(self._run)
        self._running: threading.Thread | None = None

    def put(self, item: _Waiting | StatusChange) -> None:
        """Have the handler called with ``item``, soon. Never blocks; ``condition`` is held."""
        self._queue.append(item)
        if len(self._queue) >= self._compact_at:
            self._compact()
        self._strand.wake()

    def finish(self, deadline: Deadline, *, here: Callable[[], bool]) -> bool:
        """Wait until nothing waits any more. ``here`` returns whether the calling thread has to call the handler.

        Returns ``False`` if something still waited, or the handler was still running, at the deadline.
        """
        with self._condition:
            while (self._queue or self._running) and self._running is not threading.current_thread():
                if deadline.expired:
                    return False
                if self._running is None and here():
                    break
                self._condition.wait(deadline.within(_SHORT_WAIT))
            if self._running is not None:
                return True  # a handler that closes its own registry
        self._run()
        return True

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._running is not None or not self._queue:
                    return
                item = self._queue.popleft()
                self._running = threading.current_thread()
            try:
                told(partial(self._call, item), "registry", self._observed)
            except BaseException:  # noqa: BLE001 - also SystemExit: one handler must not end what others need
                _log.exception("a handler of the registry raised")
            finally:
                with self._condition:
                    self._running = None
                    self._condition.notify_all()

    def _compact(self) -> None:
        before = len(self._queue)
        kept: dict[object, _Waiting | StatusChange] = {}
        for item in self._queue:
            if isinstance(item, StatusChange):
                kept[object()] = item
                continue
            slot = (item.key, item.event.instance.service_name)
            earlier = kept.pop(slot, None)
            merged = merge(earlier.event, item.event) if isinstance(earlier, _Waiting) else item.event
            if merged is not None:
                kept[slot] = _Waiting(item.key, merged)
        self._queue = deque(kept.values())
        # Compact again only once it has doubled: otherwise a queue that can't shrink is scanned for each event.
        self._compact_at = max(self._most_waiting, 2 * len(self._queue))
        _log.warning(
            "a handler is slow: merged %d waiting events into %d with the same effect", before, len(self._queue)
        )


class Dispatcher:
    """The handlers of one registry. ``strand`` makes a :class:`Strand` on the store's pool."""

    def __init__(
        self,
        strand: Callable[[Callable[[], object]], Strand],
        *,
        most_waiting: int = _MOST_WAITING,
        observed: ObservedWork | None = None,
    ) -> None:
        self._observed = observed
        self._strand = strand
        self._most_waiting = most_waiting
        self._condition = Monitor()
        self._handlers: tuple[tuple[Handler, str | None, _Subscriber], ...] = ()
        self._status_handlers: tuple[_Subscriber, ...] = ()
        self._removed: list[_Subscriber] = []
        self._closed = False

    # -- subscribing -------------------------------------------------------------------------------

    def add(self, handler: Handler, service: str | None, replay: Iterable[tuple[str, Instance]]) -> None:
        """Call ``handler`` from now on, first with a create for each instance of ``replay``."""
        subscriber = self._subscriber(lambda item: handler(item.event) if isinstance(item, _Waiting) else None)
        with self._condition:
            self._handlers = (*self._handlers, (handler, service, subscriber))
            for key, instance in replay:
                if service in (None, instance.service_name) and not self._closed:
                    subscriber.put(_Waiting(key, InstanceEvent(EventType.CREATE, instance)))

    def remove(self, handler: Handler) -> None:
        """Stop calling ``handler`` for events from now on."""
        with self._condition:
            self._removed += [subscriber for known, _, subscriber in self._handlers if known == handler]
            self._handlers = tuple(entry for entry in self._handlers if entry[0] != handler)

    def add_status(self, handler: StatusHandler) -> None:
        """Call ``handler`` with status changes from now on."""
        subscriber = self._subscriber(lambda item: handler(item) if isinstance(item, StatusChange) else None)
        with self._condition:
            self._status_handlers = (*self._status_handlers, subscriber)

    def _subscriber(self, call: Callable[[_Waiting | StatusChange], object]) -> _Subscriber:
        return _Subscriber(
            call,
            condition=self._condition,
            strand=self._strand,
            most_waiting=self._most_waiting,
            observed=self._observed,
        )

    # -- queueing; never blocks --------------------------------------------------------------------

    def listening(self) -> bool:
        """Whether any handler is there to be told of events."""
        return bool(self._handlers)

    def dispatch(self, events: Iterable[tuple[str, InstanceEvent]]) -> None:
        """Queue events, each with its entry's key."""
        if not self._handlers:
            return
        with self._condition:
            if self._closed:
                return
            for key, event in events:
                for _, service, subscriber in self._handlers:
                    if service in (None, event.instance.service_name):
                        subscriber.put(_Waiting(key, event))

    def dispatch_status(self, change: StatusChange) -> None:
        """Queue a status change."""
        with self._condition:
            if not self._closed:
                for subscriber in self._status_handlers:
                    subscriber.put(change)

    # -- closing -----------------------------------------------------------------------------------

    def close(self, deadline: Deadline, *, here: Callable[[], bool] = lambda: False) -> None:
        """Deliver the waiting events; wait for handlers that block until ``deadline``.

        ``here`` returns whether the pool is gone, so that the closing thread calls the handlers itself.
        """
        with self._condition:
            self._closed = True
            subscribers = [*(subscriber for _, _, subscriber in self._handlers), *self._status_handlers, *self._removed]
        unfinished = sum(not subscriber.finish(deadline, here=here) for subscriber in subscribers)
        if unfinished:
            _log.warning("%d handlers of the registry are still running at the end of close", unfinished)


def merge(first: InstanceEvent, second: InstanceEvent) -> InstanceEvent | None:
    """Return one event with the effect of two successive events on one instance; ``None`` if they cancel out."""
    new = first.type is EventType.CREATE
    if second.type is EventType.DELETE:
        return None if new else InstanceEvent(EventType.DELETE, second.instance, first.previous or second.previous)
    if new:
        return InstanceEvent(EventType.CREATE, second.instance)
    return InstanceEvent(EventType.UPSERT, second.instance, first.previous)
