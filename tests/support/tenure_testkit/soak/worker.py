"""An application process of the soak: one actor on its main thread, and one on a thread beside it.

It reads commands from standard input, and answers each with one line of JSON:

act EPOCH      act until the next command (no answer)
quiet          stop acting, and answer when nothing is under way
replace        of the memory store, which lives in this process: lose the data
check 0|1      check everything, 1 after the data were replaced; the answer holds what was found
stop           close everything, answer and end
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import select
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenure_testkit.soak.actor import Actor, Settings, resources
from tenure_testkit.soak.journal import Journal
from tenure_testkit.soak.machine import Lateness
from tenure_testkit.soak.targets import MemoryTarget
from tenure_testkit.soak.weather import Weather


class Beside(threading.Thread):
    """The thread of an actor that isn't on the main thread: it acts, or does one thing that it is asked for."""

    def __init__(self, make: Callable[[], Actor]) -> None:
        super().__init__(name="actor", daemon=True)
        self._make = make
        self._acting = False
        self._asked: Callable[[], object] | None = None
        self._condition = threading.Condition()
        self.error: BaseException | None = None
        self.actor: Actor | None = None
        self.start()

    def run(self) -> None:
        try:
            actor = self.actor = self._make()
            while True:
                with self._condition:
                    self._condition.wait_for(lambda: self._acting or self._asked is not None)
                    asked = self._asked
                if asked is not None:
                    asked()
                    with self._condition:
                        self._asked = None
                        self._condition.notify_all()
                else:
                    actor.step()
        except BaseException as exc:  # noqa: BLE001 - the main thread is told
            with self._condition:
                self.error = exc
                self._condition.notify_all()

    def act(self) -> None:
        """Act until asked for something."""
        with self._condition:
            self._acting = True
            self._condition.notify_all()

    def begin(self, task: Callable[[], object]) -> None:
        """Stop acting, and do this."""
        with self._condition:
            self._acting = False
            self._asked = task
            self._condition.notify_all()

    def finish(self) -> None:
        """Wait for what was begun."""
        with self._condition:
            self._condition.wait_for(lambda: self._asked is None or self.error is not None)
        if self.error is not None:
            raise self.error


class Worker:
    """See above."""

    def __init__(self, config: dict[str, Any]) -> None:
        folder, name, url = Path(config["folder"]), config["name"], config["url"]
        journal, lateness = Journal(folder / f"{name}.journal"), Lateness()
        settings = Settings(url=url, name=name, seed=config["seed"], folder=folder, interrupts=True, forks=True)
        beside = Settings(url=url, name=f"{name}b", seed=f"{config['seed']}/beside", folder=folder)
        if url.startswith("memory:"):  # a child of a fork has no part of it
            settings.forks = False
        self._target = MemoryTarget(url) if url.startswith("memory:") else None
        self._weather = Weather(self._target, config["seed"]) if self._target is not None else None
        self._lateness = lateness
        self._main = Actor(settings, journal, lateness, config["epoch"])
        self._beside = Beside(lambda: Actor(beside, journal, lateness, config["epoch"]))
        self._acting = False
        self._read = b""

    @property
    def _actors(self) -> list[Actor]:
        self._beside.finish()
        return [self._main, *([self._beside.actor] if self._beside.actor is not None else [])]

    def run(self) -> None:
        """Follow the commands until the end."""
        while True:
            words = self._command()
            if words is None:
                self._main.step()
                continue
            if not words:  # the soak has ended
                return
            answer = getattr(self, f"_{words[0]}")(*words[1:])
            if answer is not None:
                print(json.dumps({"at": words[0], **answer}), flush=True)
            if words[0] == "stop":
                return

    def _command(self) -> list[str] | None:
        """The words of the next command; ``None`` if there is none yet and there is something to do meanwhile."""
        while b"\n" not in self._read:
            if self._acting and not select.select([0], [], [], 0)[0]:
                return None
            data = os.read(0, 4096)
            if not data:
                return []
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode().split()

    def _act(self, epoch: str) -> None:
        self._main.epoch = int(epoch)
        for actor in self._actors:
            actor.epoch = int(epoch)
        self._acting = True
        self._beside.act()
        if self._weather is not None:
            self._weather.blow()

    def _quiet(self) -> dict[str, Any]:
        self._acting = False
        if self._weather is not None:
            self._weather.calm()
        self._beside.begin(lambda: None)
        self._beside.finish()
        for actor in self._actors:
            actor.settle()
        return {}

    def _replace(self) -> dict[str, Any]:
        if self._target is not None:
            self._target.replace()
        return {}

    def _check(self, replaced: str) -> dict[str, Any]:
        beside = self._beside.actor
        if beside is not None:
            self._beside.begin(lambda: beside.check(replaced=replaced == "1"))
        self._main.check(replaced=replaced == "1")
        self._beside.finish()
        return self._found()

    def _stop(self) -> dict[str, Any]:
        for actor in self._actors:
            actor.close()
        if self._weather is not None:
            self._weather.close()
        return self._found()

    def _found(self) -> dict[str, Any]:
        counts, slowest, problems = Counter[str](), dict[str, float](), []
        for actor in self._actors:
            counts.update(actor.counts)
            actor.counts.clear()
            problems += [f"{actor.name}: {problem}" for problem in actor.problems]
            actor.problems.clear()
            for name, seconds in actor.slowest.items():
                slowest[name] = max(seconds, slowest.get(name, 0.0))
        weather = dict(self._weather.counts) if self._weather is not None else {}
        found = {"problems": problems, "counts": counts, "slowest": slowest, "faults": weather}
        return found | {"resources": resources()}


def main() -> None:
    """The process."""
    config = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # callbacks that raise are logged, and here they raise on purpose
    threads = (Path(config["folder"]) / f"{config['name']}.threads").open("w")
    faulthandler.enable(threads)
    faulthandler.register(signal.SIGUSR1, threads, all_threads=True)
    Worker(config).run()


if __name__ == "__main__":
    main()
