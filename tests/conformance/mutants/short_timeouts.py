"""Less patience: what the memory store doesn't do in seconds it never does.

A rule waits up to fifteen seconds for what should take milliseconds, which a hundred broken stores make long. In a
process that tries mutants, and in no other, those waits are cut. How far depends on the machine: :func:`slowness`
measures how late threads run while as many processes are busy as will try mutants at a time. A rule that finds
something in a sound store within the cut waits is tried again with its own (``run_one``).
"""

from __future__ import annotations

import inspect
import multiprocessing
import pkgutil
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from multiprocessing.connection import Connection
from types import FunctionType, ModuleType

import tenure.conformance

_WAITS = {"EVENT_TIMEOUT": 2.0, "DEADLINE": 10.0, "RECOVERY": 5.0, "_SHRINKING": 3.0}
"""Constants of the suite's modules, with the seconds that take their place on a machine that does nothing else."""
_LEFT_OUT = tuple(
    f"tenure.conformance.{name}" for name in ("network.", "pytest.", "controls.", "fault_injection.client_process_main")
)
"""Modules whose waits no rule waits for, and those that are run by pytest or as a program."""

_QUIET = 0.1
"""Seconds that the measurement takes on such a machine, with some to spare."""
_MOST = 8.0


def slowness(processes: int) -> float:
    """How many times longer things take here than on a quiet machine, with so many processes at work; at least 1."""
    context = multiprocessing.get_context("fork")
    running = []
    for _ in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_measure, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        running.append((ours, process))
    seconds = [ours.recv() for ours, _ in running]
    for _, process in running:
        process.join()
    return min(max(max(seconds) / _QUIET, 1.0), _MOST)


def _measure(pipe: Connection) -> None:
    """A mutant's trial in small: two threads that hand each other the turn, now and then with some work to do."""
    began, turns = time.monotonic(), [threading.Semaphore(1), threading.Semaphore(0)]

    def play(own: threading.Semaphore, other: threading.Semaphore) -> None:
        for _ in range(50):
            own.acquire()
            sum(range(5_000))
            other.release()

    second = threading.Thread(target=play, args=(turns[1], turns[0]))
    second.start()
    play(turns[0], turns[1])
    second.join()
    pipe.send(time.monotonic() - began)
    pipe.close()


def shorten(times: float) -> None:
    """Put the shorter waits everywhere in the suite, each so many times as long as on a quiet machine.

    They stand in its modules' constants and in defaults made of them.
    """
    modules = list(_modules())
    unknown = [name for name in _WAITS if not any(name in vars(module) for module in modules)]
    if unknown:
        raise LookupError(f"the suite has no constants of these names: {', '.join(unknown)}")
    shorter = {
        id(vars(module)[name]): min(seconds * times, vars(module)[name])
        for module in modules
        for name, seconds in _WAITS.items()
        if name in vars(module)
    }
    for module in modules:
        for name in _WAITS:
            if name in vars(module):
                setattr(module, name, shorter[id(vars(module)[name])])
        for function in _functions(module):
            defaults = function.__defaults__ or ()
            function.__defaults__ = tuple(shorter.get(id(each), each) for each in defaults) or None
            for name, value in (function.__kwdefaults__ or {}).items():
                function.__kwdefaults__[name] = shorter.get(id(value), value)


def _modules() -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(tenure.conformance.__path__, "tenure.conformance."):
        if not info.name.startswith(_LEFT_OUT):
            yield import_module(info.name)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for member in vars(module).values():
        if getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(member):
            yield member
        elif inspect.isclass(member):
            yield from (each for each in vars(member).values() if inspect.isfunction(each))
