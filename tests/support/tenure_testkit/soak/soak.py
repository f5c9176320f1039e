"""The soak: stores side by side, processes that use them, faults, and a quiet moment now and then to check everything.

A turn of each store, which has a thread of its own here::

    act ── a while ──► calm, quiet ──► [data replaced] ──► check ──► counters, locks, growth ──► act, with a new counter
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import tenure
from tenure.plugin_kit import monotonic
from tenure_testkit.soak import checker
from tenure_testkit.soak.journal import records
from tenure_testkit.soak.targets import Target, start
from tenure_testkit.soak.weather import Fault, Weather

ANSWER = 240.0
"""Seconds within which a process answers a command: it ends its call, and checks everything."""
_SETTLING = 1.0
"""Seconds after the last fault within which a write of unknown outcome is applied, or never."""
_TURN = (8.0, 20.0)
_FIRST_TURNS = 3
"""Turns in which a process may still grow: caches fill, modules are imported."""


class Process:
    """An application process, and what it answers."""

    def __init__(self, config: dict[str, Any], module: str = "tenure_testkit.soak.worker") -> None:
        self.name = config["name"]
        self.folder = Path(config["folder"])
        self.grown: list[dict[str, int]] = []
        support = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(support), os.environ.get("PYTHONPATH", "")])
        self._errors = (self.folder / f"{self.name}.stderr").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def say(self, *words: object) -> None:
        """Give a command. A process that is dead shows when it is asked for its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def answer(self) -> dict[str, Any]:
        """The answer to a command. One that doesn't come is a finding: with the stacks of all threads."""
        try:
            found = self._answers.get(timeout=ANSWER)
        except queue.Empty:
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(1.0)
            stacks = (self.folder / f"{self.name}.threads").read_text()[-6_000:]
            self.kill()
            raise AssertionError(f"{self.name} hangs:\n{stacks}") from None
        if found is None:
            code = self._process.wait()
            self._errors.seek(0)
            raise AssertionError(f"{self.name} ended with {code}:\n{self._errors.read()[-4_000:].decode()}")
        return found

    def end(self) -> None:
        """After ``stop``: the process ends without being asked again."""
        began = monotonic()
        try:
            code = self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(1.0)
            stacks = (self.folder / f"{self.name}.threads").read_text()[-6_000:]
            self.kill()
            raise AssertionError(
                f"{self.name} doesn't end, {monotonic() - began:.0f} s after close:\n{stacks}"
            ) from None
        if code:
            self._errors.seek(0)
            raise AssertionError(f"{self.name} ended with {code}:\n{self._errors.read()[-4_000:].decode()}")

    def kill(self) -> None:
        """As the kernel does when memory is short. Does nothing if it has ended."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def suspend(self) -> Callable[[], object]:
        """As Ctrl-Z does; return what continues it."""
        self._process.send_signal(signal.SIGSTOP)
        return lambda: self._process.send_signal(signal.SIGCONT)


@dataclass(slots=True)
class Found:
    """The result of one store."""

    problems: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    turns: int = 0
    replaced: int = 0
    killed: int = 0
    growth: dict[str, list[dict[str, int]]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        words = {name: getattr(self, name) for name in ("turns", "replaced", "killed", "problems", "invalid", "growth")}
        slowest = {name: round(seconds, 2) for name, seconds in sorted(self.slowest.items())}
        counted = {"counts": dict(sorted(self.counts.items())), "faults": dict(self.faults)}
        return words | counted | {"slowest": slowest}


class StoreSoak(threading.Thread):
    """The soak of one store."""

    def __init__(
        self, name: str, folder: Path, *, seed: str, seconds: float, processes: int, tell: Callable[[str], None]
    ) -> None:
        super().__init__(name=f"soak {name}", daemon=True)
        self.store = name
        self.found = Found()
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._seed = f"{seed}/{name}"
        self._random = random.Random(self._seed)
        self._seconds = seconds
        self._ends = 0.0
        self._wanted = processes
        self._tell = tell
        self._number = 0
        self._epoch = 1
        self._processes: list[Process] = []
        self._lock = threading.Lock()
        self._kept = False
        self._told = 0
        self._last_faults = Counter[str]()
        self._replaced: list[tuple[float, float]] = []

    def run(self) -> None:
        """From the start of the server to the end of the last process."""
        target = None
        try:
            target = start(self.store, self._folder)
            self._soak(target)
        except Exception as exc:  # noqa: BLE001 - reported, beside the other stores' results
            self.found.problems.append(f"{type(exc).__name__}: {exc}")
        finally:
            for process in self._processes:
                process.kill()
            if target is not None:
                target.close()

    def abandon(self) -> None:
        """Kill its processes, also suspended ones, which would never see that nobody asks them any more."""
        for process in tuple(self._processes):
            process.kill()

    def _soak(self, target: Target) -> None:
        weather = Weather(_WithClients(target, self._clients), self._seed)
        for _ in range(self._wanted if target.shared else 1):
            self._add(target)
        self._each("quiet")
        self._answers()  # all have started
        self._ends = monotonic() + self._seconds
        while True:
            self._each("act", self._epoch)
            if target.shared:
                weather.blow()
            length = self._random.uniform(*_TURN)
            time.sleep(max(0.0, min(length, self._ends - monotonic())))
            weather.calm()
            time.sleep(_SETTLING)
            self._each("quiet")
            self._answers()
            self._check(target)
            self.found.faults = Counter(weather.counts) + Counter(self._last_faults)
            self.found.invalid += weather.problems
            weather.problems = []
            self.found.turns += 1
            self._tell_turn()
            if monotonic() >= self._ends:
                break
            self._epoch += 1
            if target.shared and self._random.random() < 0.3:
                self._replace_process(target)
        weather.close()
        self._each("stop")
        self._answers()
        for process in self._processes:
            process.end()
        self._judge_growth()

    def _tell_turn(self) -> None:
        """Tell what was found as it is found: an hour is long, and a run that is ended early has no result."""
        problems = self.found.problems
        for problem in problems[self._told :]:
            self._tell(f"{self.store}: {problem}")
        self._told = len(problems)
        self._tell(f"{self.store}: turn {self.found.turns}, {len(problems)} problems")

    # -- processes --

    def _add(self, target: Target) -> None:
        self._number += 1
        name = f"p{self._number}"
        seed = f"{self._seed}/{name}"
        config = {"url": target.url, "name": name, "seed": seed, "folder": str(self._folder), "epoch": self._epoch}
        with self._lock:
            self._processes.append(Process(config))

    def _replace_process(self, target: Target) -> None:
        """Kill a process, whose leases then expire, and start another."""
        with self._lock:
            process = self._processes.pop(self._random.randrange(len(self._processes)))
        process.kill()
        self.found.killed += 1
        self._add(target)

    def _clients(self, chance: random.Random) -> Callable[[], object]:
        with self._lock:
            return chance.choice(self._processes).suspend()

    def _each(self, *words: object) -> None:
        for process in self._processes:
            process.say(*words)

    def _answers(self) -> None:
        for process in self._processes:
            found = process.answer()
            self.found.problems += found.get("problems", [])
            self.found.counts.update(found.get("counts", {}))
            self._last_faults = Counter(found.get("faults", {}))
            for name, seconds in found.get("slowest", {}).items():
                self.found.slowest[name] = max(seconds, self.found.slowest.get(name, 0.0))
            if "resources" in found:
                process.grown.append(found["resources"])

    # -- checks --

    def _check(self, target: Target) -> None:
        self._each("check", 0)
        self._answers()
        if target.shared:
            self._check_counter(target)
        self.found.problems += checker.lock_problems(records(self._folder), self._replaced)[:5]
        if self._kept and self._random.random() < 0.5:
            began = monotonic()
            self._replace(target)
            self._each("check", 1)
            self._answers()
            # Until then a holder from before may believe in its lease.
            self._replaced.append((began, monotonic() + 60))
            self.found.replaced += 1
            self._kept = target.shared
        elif self._random.random() < 0.5:
            target.keep()
            self._kept = True

    def _replace(self, target: Target) -> None:
        if target.shared:
            target.replace()
        else:
            self._each("replace")
            self._answers()

    def _check_counter(self, target: Target) -> None:
        key = f"c/{self._epoch}"
        with tenure.connect(target.direct, timeout=20.0) as store:
            item = store.get(key)
        final = {key: None if item is None else int(item.value)}
        self.found.problems += checker.counter_problems(records(self._folder), final)

    def _judge_growth(self) -> None:
        for process in self._processes:
            self.found.growth[process.name] = process.grown
            first, last = process.grown[:_FIRST_TURNS], process.grown[-2:]
            if len(process.grown) <= 2 * _FIRST_TURNS:
                continue
            for what, factor, more in (("threads", 1.0, 6), ("files", 1.0, 16), ("memory", 1.3, 30 << 20)):
                before, now = max(one[what] for one in first), min(one[what] for one in last)
                if now > before * factor + more:
                    self.found.problems.append(f"{process.name}: {what} grew from {before} to {now}")


class _WithClients:
    """A store and the processes that use it: those may be suspended for a while."""

    def __init__(self, target: Target, suspend: Callable[[random.Random], Callable[[], object]]) -> None:
        self._target = target
        self._suspend = suspend

    @property
    def faults(self) -> list[Fault]:
        return [*self._target.faults, Fault("suspended process", self._suspend, 2)]

    def recover(self) -> None:
        self._target.recover()


def soak(
    stores: list[str], *, minutes: float, seed: str, folder: Path, processes: int = 2, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Run the soak, and return its result as plain data; ``problems`` are what was found wrong.

    Args:
        stores: names of stores.
        minutes: how long processes act; the last check comes after it.
        seed: the same one makes the same acts and faults, as far as real time allows.
        folder: for journals and data; it must not exist.
        processes: application processes for each store; each has two threads that act.
        tell: called with a line about the progress.
    """
    began = monotonic()
    runs = [StoreSoak(name, folder, seed=seed, seconds=60 * minutes, processes=processes, tell=tell) for name in stores]
    try:
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    except BaseException:
        for run in runs:
            run.abandon()
        raise
    found = {run.store: run.found.as_dict() for run in runs}
    return {
        "seed": seed,
        "minutes": minutes,
        "seconds": round(monotonic() - began, 1),
        "stores": found,
        "problems": [f"{name}: {problem}" for name, one in found.items() for problem in one["problems"]],
    }
