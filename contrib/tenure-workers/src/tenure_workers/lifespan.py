"""What a worker process has while it lives: a store, a registry, its registration; and how all of it ends.

::

    start:    store and registry are opened --> the instance is registered
    SIGTERM:  drained --> clients see it --> deregistered --> the server's own handler, or the end of the block
    close:    registry and store are closed

Each process has its own. What a parent had open is left to the parent: after a fork, the child opens a store on its
first use, and registers an instance of its own if it is started.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing
import multiprocessing.util
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self
from uuid import uuid4
from weakref import WeakSet

import tenure
from tenure import ConfigError, Store, StoreClosed, TenureError
from tenure.plugin_kit import Deadline, Worker
from tenure.registry import Instance, Registry, RegistryConfig, Status
from tenure_workers.listening import first_listening
from tenure_workers.signals import SigtermChain

_log = logging.getLogger("tenure.workers")
_LOOPBACK = ("127.0.0.1", "::1")
_CALL_SHARE = 0.2
"""Part of the stop time that one call to the store may take: draining, deregistering. A wait has as much at most."""
_LEAVE_SHARE = 0.6
"""Part of the stop time after which the server's own handler is called, whatever the store does."""
_BLOCK_SHARE = 0.75
"""Part of the stop time after which a block that hasn't ended is told to by ``SystemExit``."""
_CLOSE_SHARE = 0.875
"""Part of the stop time after which registry and store are closed. The rest is for the process to end."""
_RETRY = (0.5, 10.0)
"""Seconds between attempts to register: the first, which doubles, and the longest."""
_LOOK_AGAIN = 0.05
"""Seconds between two looks for a successor, in the registry's cache."""
_FIRST = 20
"""Priority among the functions that ``multiprocessing`` calls at the end of a child: before it joins threads."""

_all: WeakSet[Lifespan] = WeakSet()


def _always(answer: bool) -> Callable[[], bool]:
    return lambda: answer


class _Word(Enum):
    """What the thread that leaves is given."""

    MARK = auto()
    """Mark the instance as draining."""
    LEAVE = auto()
    """Drain and deregister it."""
    TERM = auto()
    """The same, and then call the handler that SIGTERM had before."""
    END = auto()
    """There is nothing to do any more."""


class _Process:
    """What one process has. A forked child gets a new one, and keeps the parent's without touching it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.store: Store | None = None
        self.registry: Registry | None = None
        self.instance: Instance | None = None
        self.started = False
        self.closed = False
        self.patient = False  # a block runs until it sees that it should stop
        self.stop: Deadline | None = None
        self.stopping = threading.Event()
        self.left = threading.Event()
        self.ended = threading.Event()
        self.asked = threading.Lock()  # held while a registration is under way
        self.problem: str | None = None
        self.words: SimpleQueue[_Word] = SimpleQueue()  # put by signal handlers
        self.leaver: Worker | None = None
        self.registrar: Worker | None = None
        self.chain: SigtermChain | None = None
        self.is_replaced: Callable[[], bool] = _always(False)
        self.on_stop: Callable[[], object] = _always(False)


class Lifespan:
    """A store and a registry in each process that uses it, and an instance in each that is started. Thread-safe.

    Make one object per program, where modules can import it. It opens nothing at first: the first use of :attr:`store`
    or :attr:`registry` opens them in the process that uses them, and :meth:`start` registers.

    >>> from tenure_workers import Lifespan
    >>> with Lifespan("memory://") as lifespan:
    ...     lifespan.store.put("color", b"red").deleted
    0

    Args:
        store_url: the store, as for ``tenure.connect``.
        instance: the instance that a started process registers, or a function that makes it there. ``None`` registers
            none. An instance that was made in another process, before a fork, gets a new random id, because each worker
            is an instance of its own.
        config: settings of the registry.
        drain_wait: seconds between draining and deregistering, in which clients see that the instance drains. At most a
            fifth of ``stop_timeout``.
        stop_timeout: seconds from SIGTERM until everything is closed, also if the store is frozen. The time that the
            server takes for requests or tasks under way is added.
        listen_timeout: wait until the instance's port takes connections before it is registered. After this number of
            seconds an error is logged, and the wait continues. ``None``: register at once, as for a worker without a
            port, and where a parent process listens already.
        stale_after: seconds without a sign of life of the store after which the process isn't ready.
        options: further arguments of ``tenure.connect``, such as ``wait_for_store``.

    Raises:
        ConfigError: a time is out of range.
    """

    def __init__(
        self,
        store_url: str,
        instance: Instance | Callable[[], Instance] | None = None,
        *,
        config: RegistryConfig | None = None,
        drain_wait: float = 1.0,
        stop_timeout: float = 8.0,
        listen_timeout: float | None = None,
        stale_after: float = 10.0,
        **options: Any,
    ) -> None:
        for name, value in (("stop_timeout", stop_timeout), ("listen_timeout", listen_timeout)):
            if value is not None and not value > 0:
                raise ConfigError(f"making a lifespan: {name} is a positive number of seconds, not {value!r}")
        if not 0 <= drain_wait <= stop_timeout * _CALL_SHARE:
            raise ConfigError(
                f"making a lifespan: drain_wait is a number of seconds from 0 to a fifth of stop_timeout "
                f"({stop_timeout * _CALL_SHARE:g}), not {drain_wait!r}; give a longer stop_timeout"
            )
        self.store_url = store_url
        self.config = config or RegistryConfig()
        self.drain_wait = drain_wait
        self.stop_timeout = stop_timeout
        self.listen_timeout = listen_timeout
        self.stale_after = stale_after
        self._given = instance or self.config.instance
        self._made_in = os.getpid()
        self._options = options
        self._here = _Process()
        self._inherited: list[_Process] = []
        _all.add(self)

    # -- what the application uses --

    @property
    def store(self) -> Store:
        """This process's store, opened on the first use. Raises as :meth:`open`."""
        here = self._here
        if here.store is None:
            self.open()
        store = here.store
        if store is None:
            raise StoreClosed("using the lifespan's store: the lifespan was closed; open() it again")
        return store

    @property
    def registry(self) -> Registry:
        """This process's started registry, opened on the first use. Raises as :meth:`open`."""
        here = self._here
        if here.registry is None:
            self.open()
        registry = here.registry
        if registry is None:
            raise StoreClosed("using the lifespan's registry: the lifespan was closed; open() it again")
        return registry

    @property
    def stopping(self) -> bool:
        """Whether the stop has begun: by SIGTERM, :meth:`drain` or :meth:`close`."""
        return self._here.stopping.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the stop begins.

        Args:
            seconds: the longest wait, in seconds; ``None`` for no limit.

        Returns:
            Whether it has begun.
        """
        return self._here.stopping.wait(seconds)

    def not_ready(self) -> list[str]:
        """Return why this process isn't ready for work; nothing if it is. Makes no call to the store.

        It is ready while its instance is registered (if it has one) and it is not stopping. The store has to have given
        a sign of life within ``stale_after`` seconds, too.

        Returns:
            A sentence for each reason; empty if the process is ready.
        """
        here = self._here
        registry = here.registry
        if registry is None:
            return ["not started"]
        reasons = ["stopping"] if here.stopping.is_set() else []
        registered = here.problem is None and registry.status is Status.REGISTERED
        if here.started and here.instance is not None and not registered:
            reasons.append(here.problem or f"the instance is not registered: {registry.status}")
        if (age := registry.staleness) > self.stale_after:
            reasons.append(f"no sign of life of the store for {age:.1f} s")
        return reasons

    # -- the way in --

    def open(self) -> None:
        """Open this process's store and registry, unless they are open. Registers nothing.

        They are closed when the program ends at its last line, by ``sys.exit`` or by an exception.

        Raises:
            StoreClosed: this process has closed the lifespan. :meth:`start` opens it again.
            TenureError: as ``tenure.connect`` and the start of a registry. Then nothing is left open.
        """
        here = self._here
        with here.lock:
            if here.closed:
                raise StoreClosed("opening the lifespan: this process has closed it; call start()")
            if here.store is not None:
                return
            store = tenure.connect(self.store_url, **self._options)
            try:
                here.registry = Registry(store, replace(self.config, instance=None)).start()
            except BaseException:
                store.close()
                raise
            here.store = store
            self._close_at_exit()

    def _close_at_exit(self) -> None:
        atexit.unregister(self.close)
        atexit.register(self.close)
        if multiprocessing.parent_process() is not None:  # such a child ends without `atexit`
            multiprocessing.util.Finalize(None, self.close, exitpriority=_FIRST)

    def start(
        self,
        *,
        handle_sigterm: bool = True,
        on_stop: Callable[[], object] | None = None,
        is_replaced: Callable[[], bool] | None = None,
    ) -> None:
        """Open what isn't open, register this process's instance, and drain it on SIGTERM. Idempotent.

        The registration happens on another thread. If the store refuses it or doesn't answer, it is tried again after
        0.5 to 10 seconds, and :meth:`not_ready` says why. On SIGTERM the handler that was set before is called once the
        instance is deregistered. If there was none, ``SystemExit`` is raised in the main thread.

        Args:
            handle_sigterm: take the place of SIGTERM's handler. Without effect on a thread that isn't the main one.
            on_stop: called on another thread when the stop begins.
            is_replaced: asked at SIGTERM: whether another process takes this one's address over. If so, the stop begins
                when the other is registered, or after ``stop_timeout``.

        Raises:
            TenureError: as :meth:`open`.
        """
        self._start(handle_sigterm, on_stop, is_replaced)

    def _start(
        self,
        handle_sigterm: bool = True,
        on_stop: Callable[[], object] | None = None,
        is_replaced: Callable[[], bool] | None = None,
        *,
        patient: bool = False,
    ) -> None:
        here = self._here
        with here.lock:
            if here.started and not here.closed:
                return
            if here.closed:
                here = self._here = _Process()
        with here.lock:
            self.open()
            here.instance = self._own_instance()
            here.patient = patient
            here.on_stop = on_stop or here.on_stop
            here.is_replaced = is_replaced or here.is_replaced
            here.leaver = Worker(lambda: self._listen_for_words(here), name="tenure-workers-leave")
            here.leaver.start("starting a worker")
            if handle_sigterm:
                here.chain = SigtermChain(lambda: self._tell(here, _Word.TERM))
                here.chain.install()
            if here.instance is not None:
                here.problem = "the instance is being registered"
                here.registrar = Worker(lambda: self._register(here), name="tenure-workers-register")
                here.registrar.start("registering a worker")
            here.started = True

    def _own_instance(self) -> Instance | None:
        given = self._given
        if given is None:
            return None
        if not isinstance(given, Instance):
            return given()
        return given if self._made_in == os.getpid() else given.copy(id=str(uuid4()))

    def _register(self, here: _Process) -> None:
        instance = here.instance
        assert instance is not None
        if self.listen_timeout is not None and not self._wait_for_server(here, instance, self.listen_timeout):
            return
        pause, longest = _RETRY
        while not here.stopping.is_set():
            with here.asked:
                if here.stopping.is_set():
                    return
                try:
                    assert here.registry is not None
                    here.registry.register(instance)
                    here.problem = None
                    return
                except TenureError as exc:
                    here.problem = f"the instance is not registered: {exc}"
                    _log.warning("registering %s, trying again in %g s: %s", instance.identity(), pause, exc)
            here.stopping.wait(pause)
            pause = min(2 * pause, longest)

    def _wait_for_server(self, here: _Process, instance: Instance, seconds: float) -> bool:
        here.problem = f"the server doesn't listen on port {instance.port} yet"
        limit: Deadline | None = Deadline(seconds)

        def pause(seconds: float) -> bool:
            nonlocal limit
            if limit is not None and limit.expired:
                limit = None
                _log.error("not registering %s: %s", instance.identity(), here.problem)
            return here.stopping.wait(seconds)

        host = first_listening((instance.host, *_LOOPBACK), instance.port, pause)
        if host is not None and host != instance.host:
            _log.warning(
                "the server listens at %s and not at %s, where clients will look for it; let it listen there, too, or "
                "give the instance another host",
                instance.with_address(host).address,
                instance.address,
            )
        here.problem = "the instance is being registered"
        return host is not None

    # -- the way out --

    def drain(self) -> None:
        """Drain the instance, wait ``drain_wait`` seconds, and deregister it: it begins the stop. Returns when done.

        SIGTERM does the same. If the store doesn't answer, a warning is logged, and the entry disappears when its lease
        ends. Returns within three fifths of ``stop_timeout``.
        """
        here = self._here
        if here.started:
            self._tell(here, _Word.LEAVE)
            here.left.wait(self.stop_timeout * _LEAVE_SHARE)

    def drain_soon(self) -> None:
        """Begin the stop: mark the instance as draining, and leave it registered until :meth:`close`. Returns at once.

        May be called in a signal handler. For workers whose tasks take long: clients see that it finishes its work.
        """
        self._tell(self._here, _Word.MARK)

    def _tell(self, here: _Process, word: _Word) -> None:
        """Safe in a signal handler: no lock that the interrupted thread may hold."""
        if here.stop is None:
            here.stop = Deadline(self.stop_timeout)
        here.words.put(word)

    def _listen_for_words(self, here: _Process) -> None:
        while (word := here.words.get()) is not _Word.END and not here.ended.is_set():
            if not here.stopping.is_set():
                self._begin_to_stop(here, word)
            if not here.left.is_set():
                self._leave(here, deregister=word is not _Word.MARK)
            if word is not _Word.MARK:
                here.left.set()
            if word is _Word.TERM:
                self._pass_on(here)

    def _begin_to_stop(self, here: _Process, word: _Word) -> None:
        if word is _Word.TERM and here.is_replaced():
            self._wait_for_successor(here)
            here.stop = Deadline(self.stop_timeout)
        here.stopping.set()
        with contextlib.suppress(Exception):
            here.on_stop()

    def _pass_on(self, here: _Process) -> None:
        if here.chain is None:
            return
        if here.patient:
            here.ended.wait(self._time_until(here, _BLOCK_SHARE))
        if not here.ended.is_set():
            here.chain.pass_on()

    def _leave(self, here: _Process, *, deregister: bool) -> None:
        registry = here.registry
        if registry is None or here.instance is None:
            return
        share = self.stop_timeout * _CALL_SHARE

        def seconds() -> float:
            return min(share, self._time_until(here, _LEAVE_SHARE))

        # A registration that is under way may still succeed. Better to know how it ended.
        if here.asked.acquire(timeout=seconds()):
            here.asked.release()
        if registry.current() is None or here.ended.is_set():
            return
        _attempt("draining the instance", registry.drain, seconds())
        if not deregister or here.ended.is_set():
            return
        here.ended.wait(min(self.drain_wait, seconds()))
        _attempt("deregistering the instance", registry.deregister, seconds())

    def _wait_for_successor(self, here: _Process) -> None:
        registry, own, limit = here.registry, here.instance, Deadline(self.stop_timeout)
        if registry is None or own is None:
            return

        def at_this_address() -> set[str]:
            found = registry.get_services().get(own.service_name, ())
            return {each.id for each in found if each.ready and each.address == own.address}

        before = at_this_address()
        while not at_this_address() - before and not limit.expired and not here.ended.wait(_LOOK_AGAIN):
            pass

    def _time_until(self, here: _Process, share: float, least: float = 0.0) -> float:
        """Seconds from now until ``share`` of the stop time is over; ``least`` if the server has used that up."""
        left = self.stop_timeout if here.stop is None else here.stop.remaining()
        return max(left - self.stop_timeout * (1 - share), least, 0.001)

    def close(self) -> None:
        """Deregister the instance if it still is registered, and close this process's registry and store. Idempotent.

        If the store doesn't answer, warnings are logged. Nothing is raised. It ends within ``stop_timeout`` of the
        SIGTERM. If tasks or requests took longer than that, it ends within a fifth of ``stop_timeout``.
        """
        here = self._here
        if here.stop is None:
            here.stop = Deadline(self.stop_timeout)
        here.stopping.set()
        here.ended.set()
        here.words.put(_Word.END)
        share = self.stop_timeout * _CALL_SHARE
        if not here.lock.acquire(timeout=share):
            _log.warning("closing the lifespan: another thread is still opening it after %g s", share)
            return
        try:
            if here.closed or here.store is None:
                return
            here.closed = True
            if here.chain is not None:
                here.chain.restore()
            deadline = Deadline(self._time_until(here, _CLOSE_SHARE, share))
            registry, here.registry = here.registry, None
            store, here.store = here.store, None
            if registry is not None:
                _attempt("closing the registry", registry.close, deadline.remaining() / 2)
            _attempt("closing the store", store.close, deadline.remaining())
        finally:
            here.lock.release()

    def __enter__(self) -> Self:
        """Start. The block ends when it sees :attr:`stopping`.

        At a SIGTERM it has until three quarters of ``stop_timeout``. Then ``SystemExit`` is raised in the main thread.
        """
        self._start(patient=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- a fork --

    def _begin_anew(self) -> None:
        """In a forked child: what the parent has stays the parent's."""
        inherited = self._here
        self._inherited.append(inherited)  # nothing of it is finalized here
        self._here = _Process()
        if inherited.chain is not None:
            inherited.chain.restore()


def _begin_all_anew() -> None:
    for lifespan in list(_all):
        lifespan._begin_anew()


os.register_at_fork(after_in_child=_begin_all_anew)


def _attempt(what: str, call: Callable[..., object], seconds: float) -> None:
    """Make a call that must not keep a stop from going on."""
    try:
        call(timeout=seconds)
    except StoreClosed:
        pass  # close() came in between, and has deregistered
    except TenureError as exc:
        _log.warning("%s: not confirmed by the store: %s", what, exc)
