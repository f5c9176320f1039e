"""Notify observers (metrics, tracing). Where nobody implements a hook, it costs one look at a flag.

Each observer's function is called directly with the arguments that it names, as pluggy would: pluggy finds and checks
the functions, but its own call costs more than most operations in memory.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tenure._observed import ObservedStore, Outcome
from tenure._plugins import discovery
from tenure._runtime.clock import Clock
from tenure._runtime.deadline import monotonic
from tenure._runtime.interruption import interruption
from tenure.errors import ConfigError, Conflict, OutcomeUnknown, TenureError
from tenure.spi.backend import Backend
from tenure.spi.types import LeaseId

if TYPE_CHECKING:
    import pluggy

T = TypeVar("T")
A = TypeVar("A")

Call = Callable[[dict[str, Any]], object]
"""Calls one observer's hook function with those of the arguments that it takes."""
QuickCall = Callable[[tuple[object, ...]], object]
"""The same for arguments in a fixed order, which need no dictionary: an operation has two such calls."""

_log = logging.getLogger("tenure._client.observers")
_NOTHING: tuple[object, ...] = ()
_STARTED = ("url", "store", "operation", "batch_size")
_FINISHED = (*_STARTED, "seconds", "error", "outcome", "attempts", "context")
_DONE = Outcome.DONE
"""By the name of the enumeration it would be looked up by code in Python 3.11, at the price of two function calls."""
_WATCH_IDS = count(1)


class Observers:
    """The observer hooks of one store. What an observer raises is logged and never breaks an operation."""

    def __init__(self, observers: Iterable[object], url: str, store: ObservedStore | None = None) -> None:
        """``store`` is ``url`` in parts, for the hooks; by default its scheme alone is known."""
        # One manager per observer: pluggy doesn't call the next observer once one has raised.
        self._hooks = [_hooks_of(observer) for observer in observers]
        self.url = url
        self._store = store or ObservedStore(url, url.partition(":")[0].partition("+")[0])
        self._calls: dict[str, list[Call]] = {}
        self._starts = [_quick_call_of(hooks, "tenure_operation_started", _STARTED) for hooks in self._hooks]
        if not any(self._starts):
            self._starts.clear()
        self._ends = [_quick_call_of(hooks, "tenure_operation_finished", _FINISHED) for hooks in self._hooks]
        self.active = self.hear("operation_started", "operation_finished")
        self.of_registrations = self.hear("registration_changed")
        self.of_leases = self.hear("lease_granted", "lease_refreshed", "lease_suspect", "lease_revoked")
        self.of_deliveries = self.hear("watch_delivered")
        self.of_callbacks = self.hear("callback_dequeued", "callback_slow", "callback_finished")
        self.of_caches = self.hear("cache_opened", "cache_closed")
        self.of_recipes = self.hear(
            "recipe_waiting", "recipe_queued", "recipe_held", "recipe_given_up", "recipe_released", "recipe_lost"
        )

    def hear(self, *hooks: str) -> bool:
        """Whether any observer implements one of ``hooks``, named without ``tenure_``."""
        return any(getattr(relay, f"tenure_{hook}").get_hookimpls() for relay in self._hooks for hook in hooks)

    def tell(self, hook: str, /, **arguments: object) -> None:
        """Call a hook, named without ``tenure_``, of all observers."""
        calls = self._calls.get(hook)
        if calls is None:
            found = (_call_of(hooks, f"tenure_{hook}") for hooks in self._hooks)
            calls = self._calls[hook] = [call for call in found if call is not None]
        if calls:
            self._add_store(arguments)
            for call in calls:
                self._guarded(call, arguments)

    def begin(self, hook: str, /, **arguments: object) -> tuple[object, ...]:
        """Call a hook of all observers. Returns what each of them gave, for :meth:`end`."""
        self._add_store(arguments)
        return tuple(
            None if (call := _call_of(hooks, f"tenure_{hook}")) is None else self._guarded(call, arguments)
            for hooks in self._hooks
        )

    def end(self, hook: str, contexts: tuple[object, ...], /, **arguments: object) -> None:
        """Call a hook of all observers, each with what it gave :meth:`begin`."""
        self._add_store(arguments)
        for number, hooks in enumerate(self._hooks):
            call = _call_of(hooks, f"tenure_{hook}")
            if call is not None:
                context = contexts[number] if contexts else None
                self._guarded(call, {**arguments, "context": context})

    def operation(
        self,
        operation: str,
        batch_size: int,
        policy: Callable[[Callable[[float], T], float, Clock], T],
        *,
        call: Callable[[float], T],
        seconds: float,
        clock: Clock,
    ) -> T:
        """Run ``policy``, which repeats ``call`` as an operation may be repeated, and tell observers."""
        attempts = 0

        def attempt(left: float) -> T:
            nonlocal attempts
            attempts += 1
            return call(left)

        contexts = self._operation_started(operation, batch_size)
        started = monotonic()
        error: BaseException | None = None
        try:
            return policy(attempt, seconds, clock)
        except BaseException as exc:
            error = exc
            raise
        finally:
            self._operation_finished(
                operation,
                batch_size,
                contexts,
                seconds=monotonic() - started,
                error=error,
                attempts=attempts,
            )

    def cache_opened(self, kind: str, prefix: str, cache: _Aging) -> CacheAge | None:
        """Tell of a cache. Returns what :meth:`cache_closed` takes."""
        if not self.of_caches:
            return None
        age = CacheAge(cache)
        self.tell("cache_opened", prefix=prefix, kind=kind, age=age)
        return age

    def cache_closed(self, kind: str, prefix: str, age: CacheAge | None) -> None:
        if age is not None and age.close():
            self.tell("cache_closed", prefix=prefix, kind=kind, age=age)

    def _operation_started(self, operation: str, batch_size: int) -> Sequence[object]:
        if not self._starts:
            return _NOTHING
        arguments = (self.url, self._store, operation, batch_size)
        contexts: list[object] = []
        for started in self._starts:
            context = None
            if started is not None:
                try:
                    context = started(arguments)
                except Exception as exc:  # noqa: BLE001 - what an observer raises breaks nothing
                    self._logged(exc)
            contexts.append(context)
        return contexts

    def _operation_finished(
        self,
        operation: str,
        batch_size: int,
        contexts: Sequence[object],
        *,
        seconds: float,
        error: BaseException | None,
        attempts: int,
    ) -> None:
        outcome, told = _DONE, None
        if error is not None:
            outcome, told = _outcome(error), error if isinstance(error, TenureError) else None
        for number, finished in enumerate(self._ends):
            if finished is not None:
                context = contexts[number] if contexts else None
                try:
                    finished((self.url, self._store, operation, batch_size, seconds, told, outcome, attempts, context))
                except Exception as exc:  # noqa: BLE001 - what an observer raises breaks nothing
                    self._logged(exc)

    def _add_store(self, arguments: dict[str, Any]) -> None:
        arguments["url"], arguments["store"] = self.url, self._store

    def _guarded(self, call: Callable[[A], object], arguments: A) -> object:
        try:
            return call(arguments)
        except Exception as exc:  # noqa: BLE001 - what an observer raises breaks nothing
            self._logged(exc)
            return None

    def _logged(self, error: Exception) -> None:
        """Log what an observer raised, in the block that caught it. What a signal handler raised goes on."""
        if interruption(error) is not None:
            raise error
        _log.exception("an observer of %s raised", self.url)


class ObservedLeases:
    """What keeps leases alive sees of a backend; observers hear of each request."""

    def __init__(self, backend: Backend, observers: Observers, clock: Clock) -> None:
        self._backend = backend
        self._observers = observers
        self._clock = clock

    def refresh(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> Mapping[LeaseId, float]:
        """Refresh leases by the backend. Raises what it raises."""
        return self._once(
            "refresh", lease_ids, lambda seconds: self._backend.refresh(lease_ids, timeout=seconds), timeout
        )

    def revoke(self, lease_ids: Sequence[LeaseId], *, timeout: float) -> frozenset[LeaseId]:
        """Revoke leases by the backend. Raises what it raises."""
        return self._once(
            "revoke", lease_ids, lambda seconds: self._backend.revoke(lease_ids, timeout=seconds), timeout
        )

    def _once(self, operation: str, ids: Sequence[LeaseId], call: Callable[[float], T], timeout: float) -> T:
        return self._observers.operation(operation, len(ids), _just_once, call=call, seconds=timeout, clock=self._clock)


class ObservedWatch:
    """Tells observers of one watch. It doesn't refer to the watch, which ends when the application drops it."""

    __slots__ = ("_began", "_open", "_tell")

    def __init__(self, observers: Observers, prefix: str) -> None:
        self._tell = partial(observers.tell, watch_id=next(_WATCH_IDS), prefix=prefix)
        self._began: list[float] = []
        self._open = False

    def opened(self) -> None:
        self._open = True
        self._tell("watch_opened")

    def closed(self, error: TenureError | None) -> None:
        """Tell the end of a watch whose beginning was told: an interrupt may have come before that."""
        if self._open:
            self._open = False
            self._tell("watch_closed", error=error)

    def delivered(self, *, changes: int, lag: float, pending: int) -> None:
        self._tell("watch_delivered", changes=changes, lag=lag, pending=pending)

    def resynced(self, reason: str, cause: str) -> None:
        self._tell("watch_resynced", reason=reason, cause=cause)

    def outage(self, error: TenureError | None) -> None:
        """``error`` keeps the watch from its store; ``None``: it is connected again."""
        if error is not None:
            if not self._began:
                self._began.append(monotonic())
            self._tell("watch_disconnected", error=error)
        elif self._began:
            self._tell("watch_reconnected", seconds=monotonic() - self._began.pop())


class _Aging(Protocol):
    @property
    def staleness(self) -> float: ...


class CacheAge:
    """Tells how old a cache is, as long as the application has it."""

    __slots__ = ("_cache", "_open")

    def __init__(self, cache: _Aging) -> None:
        self._cache = weakref.ref(cache)
        self._open = [None]

    def __call__(self) -> float | None:
        cache = self._cache()
        return None if cache is None else cache.staleness

    def close(self) -> bool:
        """Whether this is the first call."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True


def _just_once(call: Callable[[float], T], timeout: float, _clock: Clock) -> T:
    return call(timeout)


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, Conflict):
        return Outcome.CONFLICT
    if isinstance(error, OutcomeUnknown):
        return Outcome.UNKNOWN
    return Outcome.FAILED if isinstance(error, TenureError) else Outcome.INTERRUPTED


def _call_of(hooks: pluggy.HookRelay, hook: str) -> Call | None:
    """Return how to call the one function that an observer has for a hook; ``None`` if it has none."""
    caller: pluggy.HookCaller = getattr(hooks, hook)
    found = caller.get_hookimpls()
    if not found:
        return None
    function, names = found[0].function, found[0].argnames
    if len(found) > 1 or found[0].wrapper or found[0].hookwrapper:
        return lambda arguments: caller(**arguments)
    if len(names) < 2:  # where itemgetter gives no tuple
        return lambda arguments: function(*[arguments[name] for name in names])
    pick = itemgetter(*names)
    return lambda arguments: function(*pick(arguments))


def _quick_call_of(hooks: pluggy.HookRelay, hook: str, order: tuple[str, ...]) -> QuickCall | None:
    """Return the same for arguments that come in ``order``."""
    found = getattr(hooks, hook).get_hookimpls()
    call = _call_of(hooks, hook)
    if call is None:
        return None
    if len(found) > 1 or found[0].wrapper or found[0].hookwrapper or len(found[0].argnames) < 2:
        return lambda arguments: call(dict(zip(order, arguments, strict=True)))
    function = found[0].function
    pick = itemgetter(*map(order.index, found[0].argnames))
    return lambda arguments: function(*pick(arguments))


def _hooks_of(observer: object) -> pluggy.HookRelay:
    manager = discovery.new_manager()
    try:
        manager.register(observer)
        manager.check_pending()
    except Exception as exc:
        if interruption(exc) is not None:
            raise
        raise ConfigError(
            f"registering the observer {observer!r}: one of its hooks doesn't exist: {exc}; use the hooks and "
            "parameters of tenure.hookspecs"
        ) from exc
    if not manager.get_hookcallers(observer):
        raise ConfigError(
            f"registering the observer {observer!r}: the observer has no hook; mark its methods with "
            "tenure.hookspecs.hookimpl"
        )
    return manager.hook
