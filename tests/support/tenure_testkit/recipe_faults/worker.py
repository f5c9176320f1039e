"""An application process: several threads, each of which uses one recipe after the other, chosen at random.

It reads commands from standard input. ``act`` begins; ``quiet`` ends what is under way, gives everything back, and is
answered with what was found; ``stop`` closes the store, is answered, and ends the process.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tenure
from tenure.plugin_kit import monotonic
from tenure_testkit.recipe_faults.acts import ACTS, Act
from tenure_testkit.soak.journal import Journal
from tenure_testkit.soak.machine import Lateness

TIMEOUT = 2.0
"""The store's timeout, in seconds."""
_EXPECTED = (
    tenure.Unavailable,
    tenure.OutcomeUnknown,
    tenure.LeaseLost,
    tenure.WaitTimeout,
)
"""What a fault may do to a call of a recipe."""
_TIMEOUTS = (0.01, 0.1, 0.5, 2.0, 5.0)


class Caller:
    """What an act uses: the store, a session, chance, the journal, and calls that are timed and judged."""

    def __init__(self, name: str, store: tenure.Store, seed: str, journal: Journal, lateness: Lateness) -> None:
        self.name = name
        self.store = store
        self.chance = random.Random(seed)
        self.journal = journal
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.slowest: dict[str, float] = {}
        self.last: BaseException | None = None
        self.lateness = lateness
        self._own: tenure.Session | None = None

    def session(self) -> tenure.Session | None:
        """A session of this thread's own, a new one if it was lost; or ``None`` for the store's."""
        if self.chance.random() < 0.5:
            return None
        if self._own is None or not self._own.alive:
            ttl = max(3.0, self.store.capabilities.min_ttl)
            done, self._own = self.call("session", lambda: tenure.Session.open(self.store, ttl=ttl), TIMEOUT)
            assert done or self._own is None
        return self._own

    def timeout(self) -> float:
        """Seconds for a call: often too short, which is how a cancel comes."""
        return self.chance.choice(_TIMEOUTS)

    def held(self, name: str, held: tenure.Held, seconds: float, most: int = 1, weight: int = 1) -> None:
        """Hold for some time, and note all the while at which moments the holder could rely on it."""
        ends = monotonic() + seconds
        while True:
            at = monotonic()
            if not held.held:
                return
            self.write(kind="held", lock=name, token=held.token, holder=self.name, at=at, most=most, weight=weight)
            if at >= ends:
                return
            time.sleep(0.01)

    def write(self, **record: Any) -> None:
        """Append to the journal."""
        self.journal.write(**record)

    def call(self, what: str, call: Callable[[], Any], limit: float) -> tuple[bool, Any]:
        """Call, and return whether it gave a result, and that; otherwise the error is counted and ``None`` comes."""
        began = monotonic()
        done, result, error = True, None, None
        try:
            result = call()
        except BaseException as exc:  # noqa: BLE001 - an unexpected one is a finding
            done, error = False, exc
        took = monotonic() - began
        bound = limit + 2 * TIMEOUT
        if took > bound and took > (allowed := bound + self.lateness.allowance(began)):
            self.problems.append(f"{what} took {took:.2f} s, allowed were {allowed:.2f} s; it ended with {error!r}")
        self.slowest[what] = max(took, self.slowest.get(what, 0.0))
        self.counts[f"{what} {'done' if error is None else type(error).__name__}"] += 1
        if error is not None and not isinstance(error, _EXPECTED):
            self.problems.append(f"{what} ended with an unexpected {error!r}, caused by {error.__cause__!r}")
        if error is not None:
            self.last = error
        return done, result

    @property
    def unknown(self) -> bool:
        """Whether the last call that failed may have been applied."""
        return isinstance(self.last, tenure.OutcomeUnknown)

    def close(self) -> None:
        """End the thread's own session."""
        if self._own is not None:
            self.call("close session", self._own.close, TIMEOUT)


class Actor(threading.Thread):
    """A thread that acts while it may."""

    def __init__(self, caller: Caller, acts: list[Act], acting: threading.Event) -> None:
        super().__init__(name=caller.name, daemon=True)
        self.caller = caller
        self._acts = acts
        self._acting = acting
        self._idle = threading.Event()
        self._ended = False

    def run(self) -> None:
        while True:
            if not self._acting.is_set():
                self._idle.set()
                self._acting.wait()
            if self._ended:
                return
            self._idle.clear()
            act = self.caller.chance.choice(self._acts)
            try:
                act(self.caller)
            except BaseException as exc:  # noqa: BLE001 - reported
                self.caller.problems.append(f"{act.__name__} raised {exc!r}")

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self._idle.wait()

    def end(self) -> None:
        """End the thread."""
        self._ended = True


def main() -> None:
    """The process."""
    config = json.loads(sys.argv[1])
    folder, name = Path(config["folder"]), config["name"]
    logging.disable(logging.CRITICAL)
    threads = (folder / f"{name}.threads").open("w")
    faulthandler.enable(threads)
    faulthandler.register(signal.SIGUSR1, threads, all_threads=True)
    lateness, acting = Lateness(), threading.Event()
    store = tenure.connect(config["url"], timeout=TIMEOUT, wait_for_store=60.0)
    journal = Journal(folder / f"{name}.journal")
    acts = [ACTS[act] for act in config["acts"]]
    actors = []
    for number in range(config["threads"]):
        caller = Caller(f"{name}.{number}", store, f"{config['seed']}/{number}", journal, lateness)
        actors.append(Actor(caller, acts, acting))
        actors[-1].start()
    for line in sys.stdin:
        command = line.split()[0]
        if command == "act":
            acting.set()
        elif command == "quiet":
            acting.clear()
            for actor in actors:
                actor.settle()
            _answer(actors)
        elif command == "stop":
            _stop(actors, acting, store, lateness)
            return


def _stop(actors: list[Actor], acting: threading.Event, store: tenure.Store, lateness: Lateness) -> None:
    for actor in actors:
        actor.caller.close()
        actor.end()
    acting.set()
    for actor in actors:
        actor.join()
    store.close()
    lateness.close()
    ends = monotonic() + 10
    while threading.active_count() > 1 and monotonic() < ends:
        time.sleep(0.05)
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if left:
        actors[0].caller.problems.append(f"threads live after the store was closed: {left}")
    _answer(actors)


def _answer(actors: list[Actor]) -> None:
    counts, slowest, problems = Counter[str](), dict[str, float](), []
    for actor in actors:
        caller = actor.caller
        counts.update(caller.counts)
        caller.counts.clear()
        problems += [f"{caller.name}: {problem}" for problem in caller.problems]
        caller.problems.clear()
        for what, seconds in caller.slowest.items():
            slowest[what] = max(seconds, slowest.get(what, 0.0))
    print(json.dumps({"problems": problems, "counts": counts, "slowest": slowest}), flush=True)


if __name__ == "__main__":
    main()
