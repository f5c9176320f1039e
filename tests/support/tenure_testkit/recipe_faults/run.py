"""Faults and processes on one store, and a quiet moment now and then to judge what was seen.

    act, faults ──► calm, quiet ──► nothing is in a newcomer's way ──► the queue is done ──► judge ──► act, ...

After the last turn the processes end. Then nothing may be left in the store but what is kept on purpose.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tenure
from tenure.plugin_kit import monotonic
from tenure_testkit.recipe_faults import acts, judge
from tenure_testkit.recipe_faults.worker import TIMEOUT, Caller
from tenure_testkit.soak.checker import counter_problems
from tenure_testkit.soak.journal import Journal, records
from tenure_testkit.soak.machine import Lateness
from tenure_testkit.soak.soak import Process
from tenure_testkit.soak.targets import Target, start
from tenure_testkit.soak.weather import Fault, Weather

_TTL = 10.0
"""The longest TTL of a session here."""
_GONE = 2 * _TTL + 5.0 + 4 * TIMEOUT
"""Seconds after the last fault until nothing of a dead or cancelled participant is there: Consul takes twice the TTL,
and the janitor looks every 5 seconds."""
_SETTLING = 1.0
"""Seconds after the last fault within which a write of unknown outcome is applied, or never."""
_TURN = (6.0, 12.0)
_LATE = 1.0
"""Seconds by which even an idle machine may be late."""
_KEPT = ("tenure/once/", "tenure/counter/", "tenure/semaphore/permits/limit", "tenure/history")
"""Where keys are that stay: results, numbers, settings, the number of the history."""


class StoreRun(threading.Thread):
    """Everything on one store."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        seed: str,
        seconds: float,
        processes: int,
        threads: int,
        chosen: list[str],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name=f"faults {name}", daemon=True)
        self.store = name
        self.problems: list[str] = []
        self.invalid: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.faults: Counter[str] = Counter()
        self.turns = 0
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._seed = f"{seed}/{name}"
        self._random = random.Random(self._seed)
        self._seconds = seconds
        self._wanted = processes
        self._threads = threads
        self._chosen = chosen
        self._tell = tell
        self._added = 0
        self._processes: list[Process] = []
        self._target: Target | None = None

    def run(self) -> None:
        """From the start of the server to the end of the last process."""
        try:
            self._target = start(self.store, self._folder)
            self._turn_for_turn(self._target)
        except Exception as exc:  # noqa: BLE001 - reported, beside the other stores' results
            self.problems.append(f"{type(exc).__name__}: {exc}")
        finally:
            for process in self._processes:
                process.kill()
            if self._target is not None:
                self._target.close()

    # -- for the weather --

    @property
    def weather_faults(self) -> list[Fault]:
        """What can happen to the store and to its clients."""
        assert self._target is not None
        mine = [Fault("suspended client", self._suspend, 4), Fault("killed client", self._kill, 2)]
        return [*self._target.faults, *mine]

    def recover(self) -> None:
        """Undo whatever is left."""
        assert self._target is not None
        self._target.recover()

    def _suspend(self, chance: random.Random) -> Callable[[], object]:
        resume = chance.choice(self._processes).suspend()
        time.sleep(chance.choice((0.5, 4.0, 1.3 * _TTL)))
        return resume

    def _kill(self, chance: random.Random) -> Callable[[], object]:
        self._processes.pop(chance.randrange(len(self._processes))).kill()

        def end() -> None:
            self._add()
            self._processes[-1].say("act")

        return end

    # -- inside --

    def _turn_for_turn(self, target: Target) -> None:
        weather = Weather(_Prey(self), self._seed)
        for _ in range(self._wanted):
            self._add()
        self._quiet()
        lateness = Lateness()
        ends = monotonic() + self._seconds
        with tenure.connect(target.direct, timeout=5.0) as store:
            inspector = Caller("inspector", store, self._seed, Journal(self._folder / "inspector.journal"), lateness)
            while True:
                for process in self._processes:
                    process.say("act")
                weather.blow()
                time.sleep(max(0.0, min(self._random.uniform(*_TURN), ends - monotonic())))
                weather.calm()
                self.faults = Counter(weather.counts)
                self.invalid += weather.problems
                weather.problems = []
                time.sleep(_SETTLING)
                self._quiet()
                self._inspect(inspector)
                self.turns += 1
                self._tell(f"{self.store}: turn {self.turns}, {len(self.problems)} problems")
                if monotonic() >= ends:
                    break
            weather.close()
            self._each("stop")
            for process in self._processes:
                process.end()
            self._check_left(store, lateness)
        lateness.close()

    def _add(self) -> None:
        assert self._target is not None
        self._added += 1
        name = f"p{self._added}"
        config = {
            "url": self._target.url,
            "name": name,
            "seed": f"{self._seed}/{name}",
            "folder": str(self._folder),
            "threads": self._threads,
            "acts": self._chosen,
        }
        self._processes.append(Process(config, "tenure_testkit.recipe_faults.worker"))

    def _quiet(self) -> None:
        self._each("quiet")

    def _each(self, command: str) -> None:
        for process in self._processes:
            process.say(command)
        for process in self._processes:
            found = process.answer()
            self.problems += [f"{process.name}: {problem}" for problem in found["problems"]]
            self.counts.update(found["counts"])
            for what, seconds in found["slowest"].items():
                self.slowest[what] = max(seconds, self.slowest.get(what, 0.0))

    def _inspect(self, inspector: Caller) -> None:
        """With all processes alive and idle: nothing is in a newcomer's way, and the journals show no violation."""
        store, began = inspector.store, monotonic()
        with tenure.Session.open(store, ttl=_TTL) as session:
            for what, attempt in _newcomers(store, session).items():
                while (held := attempt()) is None:
                    past = monotonic() - began - _GONE
                    if past > 0 and past > _LATE + inspector.lateness.allowance(began):
                        keys = [item.key for item in store.list("tenure/")]
                        self.problems.append(f"{what}: a ghost is in the way {_GONE + past:.1f} s later; {keys}")
                        break
                    time.sleep(0.1)
                else:
                    held.release()
        drained = "consume" not in self._chosen or self._drain(inspector, began)
        seen = list(records(self._folder))
        effects = {item.key.removeprefix("effects/") for item in store.list("effects/")}
        number = store.get(key := tenure.Counter(store, "count").key)
        value = None if number is None else int(number.value)
        found = [
            *judge.holder_problems(seen),
            *judge.guard_problems(seen),
            *judge.item_problems(seen, effects, drained=drained),
            *judge.once_problems(seen),
            *counter_problems(seen, {key: value}),
        ]
        self.problems += [problem for problem in found if problem not in self.problems][:10]

    def _drain(self, inspector: Caller, began: float) -> bool:
        """Do all items that are left. Items of consumers that died are free once their sessions have ended."""
        store = inspector.store
        queue = tenure.WorkQueue(store, "work", max_attempts=acts.MANY)
        while True:
            claim = queue.claim(timeout=0.2)
            if claim is not None:
                item = claim.value.decode()
                key = f"effects/{item}"
                claim.ack(store.transaction().if_absent(key).put(key, b"inspector"))
                inspector.write(kind="item", item=item, how="acknowledged")
            elif not (left := [item.key for item in store.list("tenure/queue/work/items/")]):
                return True
            elif monotonic() - began > _GONE + _LATE + inspector.lateness.allowance(began):
                self.problems.append(f"nobody can claim what is in the queue: {left[:10]}")
                return False

    def _check_left(self, store: tenure.Store, lateness: Lateness) -> None:
        began = monotonic()
        while left := [item.key for item in store.list("tenure/") if not item.key.startswith(_KEPT)]:
            if monotonic() - began > _GONE and monotonic() - began > _GONE + lateness.allowance(began):
                self.problems.append(f"left in the store: {left[:20]}")
                return
            time.sleep(0.2)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "turns": self.turns,
            "problems": self.problems,
            "invalid": self.invalid,
            "faults": dict(self.faults),
            "counts": dict(sorted(self.counts.items())),
            "slowest": {what: round(seconds, 2) for what, seconds in sorted(self.slowest.items())},
        }


class _Prey:
    def __init__(self, run: StoreRun) -> None:
        self._run = run

    @property
    def faults(self) -> list[Fault]:
        return self._run.weather_faults

    def recover(self) -> None:
        self._run.recover()


def _newcomers(store: tenure.Store, session: tenure.Session) -> dict[str, Callable[[], tenure.Held | None]]:
    """An attempt at everything that processes hold."""
    one = {
        **{f"the lock {name!r}": tenure.Lock(store, name, session=session) for name in acts.NAMES},
        "the unfair lock": tenure.Lock(store, "race", session=session, fair=False),
        "the read-write lock": tenure.ReadWriteLock(store, "rw", session=session).write,
        "the semaphore": tenure.Semaphore(store, "permits", limit=acts.PERMITS, session=session),
    }
    return {what: lambda one=one: one.try_acquire() for what, one in one.items()} | {
        "the election": lambda: _campaign(tenure.Election(store, "leader", session=session))
    }


def _campaign(election: tenure.Election) -> tenure.Held | None:
    try:
        return election.campaign(timeout=0.2)
    except tenure.WaitTimeout:
        return None


def run_all(
    stores: Iterable[str],
    *,
    seconds: float,
    seed: str,
    folder: Path,
    processes: int,
    threads: int,
    chosen: list[str],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Run faults on all stores side by side, and return the results as plain data."""
    runs = [
        StoreRun(
            name, folder, seed=seed, seconds=seconds, processes=processes, threads=threads, chosen=chosen, tell=tell
        )
        for name in stores
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    return {run.store: run.as_dict() for run in runs}
