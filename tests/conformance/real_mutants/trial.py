"""Trying one mutant: a patched copy of the packages, the suite on a server, then the tests that are named."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from tenure.conformance.controls.controls import ServerControls, offered
from tenure.conformance.runner.runner import all_rules

from .model import ROOT, RealMutant, copy_sources
from .servers import EMBEDDED, Running, embedded_url

SUITE = Path(__file__).with_name("suite.py")
SUITE_SECONDS = 240.0
"""For all rules of one trial on one store; rules that come later count as not tried."""
TEST_SECONDS = 240.0
GRACE = 30.0
"""Seconds that a run may need beyond its budget, before its process is ended."""


@dataclass(slots=True)
class Result:
    """What came of one mutant."""

    id: str
    store: str
    kind: str
    wrong: str
    unnoticeable: str = ""
    rules: dict[str, str] = field(default_factory=dict)
    """Rules that failed, with the first line of what they saw."""
    tests: list[str] = field(default_factory=list)
    """Tests that failed."""
    trouble: list[str] = field(default_factory=list)
    """What could not be judged."""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """For the file of results."""
        return asdict(self)


class Trier:
    """Tries mutants, or the sound packages, one after the other, on servers that it is lent."""

    def __init__(self, server: Callable[[str], Running], *, whole: bool) -> None:
        self._server = server
        self._whole = whole
        self._sound: dict[tuple[str, str], bool] = {}

    def mutant(self, mutant: RealMutant, *, suite: bool = True, tests: bool = True) -> Result:
        """Try one mutant with the suite and with its tests."""
        started = time.monotonic()
        result = Result(mutant.id, mutant.store, mutant.kind.value, mutant.wrong, mutant.unnoticeable)
        with _folder() as folder:
            path = copy_sources(folder, mutant)
            if suite:
                for store in mutant.tried_on:
                    self._suite(store, path, folder, mutant.rules, result)
                    if result.rules:
                        break
            if tests:
                result.tests = self._tests(mutant.tests, path, folder, result)
        result.seconds = round(time.monotonic() - started, 1)
        return result

    def _tests(self, tests: Sequence[str], path: Sequence[Path], folder: Path, result: Result) -> list[str]:
        """The test that fails each time with the fault, and passes without it."""
        doubtful: list[str] = []
        sound: Sequence[Path] = ()
        for _ in range(_DOUBTFUL):
            failed = run_tests(tests, path, result.trouble, without=doubtful)
            if not failed:
                break
            sound = sound or copy_sources(folder / "sound", None)
            if not run_tests(failed[:1], path, result.trouble):
                result.trouble.append(f"{failed[0]} failed once and passed once")
            elif run_tests(failed[:1], sound, result.trouble):
                result.trouble.append(f"{failed[0]} fails without the fault as well")
            else:
                return failed[:1]
            doubtful += failed[:1]
        return []

    def sound(self, store: str, rules: Sequence[str]) -> list[str]:
        """Which of these rules fail on the store as it is."""
        result = Result("sound", store, "", "")
        with _folder() as folder:
            document = self._run(store, copy_sources(folder, None), folder, rules, result, go_on=True)
        return sorted(document.get("failed", {}))

    def _suite(self, store: str, path: Sequence[Path], folder: Path, first: Sequence[str], result: Result) -> None:
        """The rules that ask for it, and all others if they are wanted.

        A rule that fails is tried once more, and on the sound store: one that found it by luck, or because the machine
        was slow, hasn't found it.
        """
        asked = _matching(first)
        while asked:
            document = self._run(store, path, folder, asked, result)
            failed: dict[str, str] = document.get("failed", {})
            for rule, reason in failed.items():
                again = self._run(store, path, folder, [rule], result)
                if rule not in again.get("failed", {}):
                    result.trouble.append(f"{rule} failed once and passed once on {store}")
                elif self._fails_on_sound(store, rule):
                    result.trouble.append(f"{rule} fails on sound {store} as well")
                else:
                    result.rules[rule] = _seen(reason)
            if result.rules or not failed:
                if result.rules or not self._whole:
                    return
                asked, first = [rule for rule in _matching(["*"]) if rule not in _matching(first)], ["*"]
                continue
            # Those before it have passed.
            last = max(asked.index(rule) for rule in failed)
            asked = asked[last + 1 :]

    def _fails_on_sound(self, store: str, rule: str) -> bool:
        if (store, rule) not in self._sound:
            self._sound[store, rule] = bool(self.sound(store, [rule]))
        return self._sound[store, rule]

    def _run(
        self,
        store: str,
        path: Sequence[Path],
        folder: Path,
        rules: Sequence[str],
        result: Result,
        *,
        go_on: bool = False,
    ) -> dict[str, Any]:
        file = folder / "result.json"
        file.unlink(missing_ok=True)
        words = ["--budget", str(SUITE_SECONDS), *(["--go-on"] if go_on else [])]
        with contextlib.ExitStack() as stack:
            if store in EMBEDDED:
                inner = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                url = embedded_url(store, inner)
            else:
                server = self._server(store)
                server.recover()
                url = server.url()
                words += ["--controls", stack.enter_context(_serving(server.controls(url)))]
            command = [sys.executable, "-P", str(SUITE), *words, url, str(file), *rules]
            said = _run_bounded(command, path, SUITE_SECONDS + GRACE, ROOT)
        if not file.exists():
            result.trouble.append(f"the suite on {store} came to no end: {said[-300:]}")
            return {}
        document: dict[str, Any] = json.loads(file.read_text())
        if not document["tenure"].startswith(str(folder)):
            raise RuntimeError(f"the suite ran on {document['tenure']}, not on the patched copy in {folder}")
        result.trouble += [f"{rule} didn't end on {store}" for rule in document["hung"]]
        result.trouble += [f"{rule} was inconclusive on {store}" for rule in document["inconclusive"]]
        return document


def _matching(patterns: Sequence[str]) -> list[str]:
    """The rules that one of these stands for, in the order in which they are run."""
    known = [rule.id for rule in all_rules() if rule.id not in _NOT_TRIED]
    return [rule for rule in known if any(fnmatchcase(rule, pattern) for pattern in patterns)]


_NOT_TRIED = frozenset({"faults.a_full_disk_leaves_no_halves"})
"""Rules for which these servers lack the control."""


_DOUBTFUL = 3
"""Tests that fail now and then, as on a busy machine, before the search is given up."""


def run_tests(
    tests: Sequence[str], path: Sequence[Path], trouble: list[str], *, without: Sequence[str] = ()
) -> list[str]:
    """Which test fails first on the packages of this path, if any, leaving out some."""
    failed: list[str] = []
    for test in tests:
        top = Path(*Path(test).parts[:2]) if test.startswith("contrib/") else Path()
        name = str(Path(test).relative_to(top))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-rfE", name]
        command += [f"--deselect={Path(each).relative_to(top)}" for each in without if Path(each).is_relative_to(top)]
        said = _run_bounded(command, path, TEST_SECONDS, ROOT / top)
        found = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        failed += [str(top / _named(line)) for line in found]
        if not found and " passed" not in said:
            trouble.append(f"{test} came to no end")
        if failed:
            break
    return failed


def _named(line: str) -> str:
    """The test that a line of pytest's summary names; what stands in brackets may have spaces."""
    return line.partition(" ")[2].partition(" - ")[0]


def _run_bounded(command: Sequence[str], path: Sequence[Path], seconds: float, where: Path) -> str:
    """What a command printed; it is ended with all that it started when its time is up."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path))}
    process = subprocess.Popen(
        command,
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
        return said
    except subprocess.TimeoutExpired:
        # Politely first: who started containers removes them.
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = process.communicate(timeout=GRACE)
                return said
        return ""


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tenure-mutant-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _serving(controls: ServerControls) -> Iterator[str]:
    """Use controls for another process; gives the address where it asks."""
    with tempfile.TemporaryDirectory() as folder:
        listener = Listener(f"{folder}/controls")

        def serve() -> None:
            with contextlib.suppress(OSError, EOFError):
                connection = listener.accept()
                while True:
                    _answer(connection, controls)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"{folder}/controls"
        finally:
            listener.close()


def _answer(connection: Connection[Any, Any], controls: ServerControls) -> None:
    word = connection.recv()
    if word == "offers":
        connection.send(offered(controls))
        return
    try:
        controls.do(word)
    except Exception as exc:  # noqa: BLE001 - told to the rule, which is inconclusive then
        connection.send(RuntimeError(f"{type(exc).__name__}: {exc}"))
    else:
        connection.send(None)


def _seen(reason: str) -> str:
    """The line of a failure that says what was seen."""
    lines = [line.strip() for line in reason.splitlines()]
    return next((line for line in lines if line.startswith("seen:")), lines[0] if lines else "")[:200]
