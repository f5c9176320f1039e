"""Call handlers on one thread per registry: the events of one instance come in order, and no handler delays the cache.

A handler may call the registry and the store.

A slow handler doesn't make memory grow. If too many events wait, those of the same instance are merged into one with
the same effect, so the number of instances bounds the number of waiting events.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tenure._runtime.deadline import Deadline
from tenure._runtime.exits import ending
from tenure._runtime.monitor import Monitor
from tenure.registry.model.events import EventType, Handler, InstanceEvent, StatusChange, StatusHandler
from tenure.registry.model.instance import Instance

_log = logging.getLogger("tenure.registry")
_MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class _Subscriber:
    handler: Handler
    service: str | None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event for the subscribers at the time it happened."""

    key: str
    event: InstanceEvent
    subscribers: tuple[_Subscriber, ...]


class Dispatcher:
    """The handlers, and the events waiting for them. The thread starts with the first event that has a handler."""

    def __init__(self, *, most_waiting: int = _MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._compact_at = most_waiting
        self._condition = Monitor()
        self._subscribers: tuple[_Subscriber, ...] = ()
        self._status_handlers: tuple[StatusHandler, ...] = ()
        self._queue: deque[_Waiting | Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False

    # -- subscribing -------------------------------------------------------------------------------

    def add(self, handler: Handler, service: str | None, replay: Iterable[tuple[str, Instance]]) -> None:
        """Call ``handler`` from now on, first with a create for each instance of ``replay``."""
        subscriber = _Subscriber(handler, service)
        with self._condition:
            self._subscribers = (*self._subscribers, subscriber)
            for key, instance in replay:
                if service is None or instance.service_name == service:
                    self._enqueue(_Waiting(key, InstanceEvent(EventType.CREATE, instance), (subscriber,)))

    def remove(self, handler: Handler) -> None:
        """Stop calling ``handler`` for events from now on."""
        with self._condition:
            self._subscribers = tuple(known for known in self._subscribers if known.handler != handler)

    def add_status(self, handler: StatusHandler) -> None:
        """Call ``handler`` with status changes from now on."""
        with self._condition:
            self._status_handlers = (*self._status_handlers, handler)

    # -- queueing; never blocks --------------------------------------------------------------------

    def dispatch(self, events: Iterable[tuple[str, InstanceEvent]]) -> None:
        """Queue events, each with its entry's key."""
        if not self._subscribers:
            return
        with self._condition:
            for key, event in events:
                wanted = tuple(s for s in self._subscribers if s.service in (None, event.instance.service_name))
                if wanted:
                    self._enqueue(_Waiting(key, event, wanted))

    def dispatch_status(self, change: StatusChange) -> None:
        """Queue a status change."""
        with self._condition:
            for handler in self._status_handlers:
                self._enqueue(lambda handler=handler: handler(change))  # type: ignore[misc]  # mypy can't infer a lambda with a default

    def _enqueue(self, item: _Waiting | Callable[[], object]) -> None:
        if self._closed:
            return
        self._queue.append(item)
        if len(self._queue) >= self._compact_at:
            self._compact()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tenure-registry-handlers", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as exc:  # the next event tries again, and close calls what is left
                self._thread = None
                level = logging.DEBUG if ending(exc) else logging.WARNING
                _log.log(level, "no thread for the registry's handlers can be started now: %s", exc)
            except BaseException:
                if self._thread.ident is None:  # interrupted before it was started
                    self._thread = None
                raise
        self._condition.notify()

    def _compact(self) -> None:
        before = len(self._queue)
        kept: dict[object, _Waiting | Callable[[], object]] = {}
        for item in self._queue:
            if not isinstance(item, _Waiting):
                kept[object()] = item
                continue
            slot = (item.key, item.event.instance.service_name, item.subscribers)
            earlier = kept.pop(slot, None)
            merged = merge(earlier.event, item.event) if isinstance(earlier, _Waiting) else item.event
            if merged is not None:
                kept[slot] = _Waiting(item.key, merged, item.subscribers)
        self._queue = deque(kept.values())
        # Compact again only once it has doubled: otherwise a queue that can't shrink is scanned for each event.
        self._compact_at = max(self._most_waiting, 2 * len(self._queue))
        _log.warning(
            "handlers are slow: merged %d waiting events into %d with the same effect", before, len(self._queue)
        )

    # -- calling -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._queue:
                    if self._closed:
                        return
                    self._condition.wait()
                item = self._queue.popleft()
            if isinstance(item, _Waiting):
                for subscriber in item.subscribers:
                    self._call(lambda s=subscriber, i=item: s.handler(i.event))  # type: ignore[misc]  # see dispatch_status
            else:
                self._call(item)

    def _call(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - the application's own error, logged
            _log.exception("a handler of the registry raised")

    def close(self, deadline: Deadline) -> None:
        """Deliver the waiting events, then end the thread; wait for a blocking handler until ``deadline``."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
            thread = self._thread
        if thread is None:
            self._run()  # it ends with the last event
        elif thread is not threading.current_thread():
            thread.join(deadline.remaining())
            if thread.is_alive():
                _log.warning("a handler of the registry is still running at the end of close")


def merge(first: InstanceEvent, second: InstanceEvent) -> InstanceEvent | None:
    """Return one event with the effect of two successive events on one instance; ``None`` if they cancel out."""
    new = first.type is EventType.CREATE
    if second.type is EventType.DELETE:
        return None if new else InstanceEvent(EventType.DELETE, second.instance, first.previous or second.previous)
    if new:
        return InstanceEvent(EventType.CREATE, second.instance)
    return InstanceEvent(EventType.UPSERT, second.instance, first.previous)
