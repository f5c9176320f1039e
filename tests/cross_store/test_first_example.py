"""The README's first example in three processes: the leader is killed, the next one stopped, and the last one leads."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import tenure
from tenure_testkit.waiting import PATIENCE, until

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "tests" / "docs"
JOB, PAUSE = "range(30)", "time.sleep(1)"
REFUSED = ("LeaseLost", "Conflict", "DeadlineExceeded", "OutcomeUnknown")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    pages = sys.modules["pages"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    text = next(block.text for block in pages.read(README).blocks if block.language == "python")
    assert len(text.splitlines()) <= 15
    assert text.count(JOB) == text.count(PAUSE) == 1
    program = tmp_path / "job.py"
    program.write_text(text.replace(JOB, "iter(int, 1)").replace(PAUSE, "time.sleep(0.01)"))  # it doesn't end
    with ExitStack() as stack:

        def start_one(url: str) -> subprocess.Popen[str]:
            environment = {**os.environ, "TENURE_URL": url}
            process = subprocess.Popen(
                [sys.executable, str(program)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield start_one


@pytest.mark.slow
def test_one_of_three_processes_does_the_job(start: Callable[[str], subprocess.Popen[str]], redis_own_url: str) -> None:
    url = redis_own_url
    with tenure.connect(url, timeout=PATIENCE) as store:
        election = tenure.Election(store, "nightly-report")
        processes = [start(url) for _ in range(3)]
        tokens: list[int] = []

        def leads() -> subprocess.Popen[str] | None:
            """The process that leads with a token that has not led before, and has written."""
            leader = election.leader()
            if leader is None or leader.token <= max(tokens, default=0):
                return None
            written = store.get("report/page")
            if written is None or written.mod_revision <= leader.token:
                return None
            tokens.append(leader.token)
            return next(one for one in processes if leader.candidate.endswith(f":{one.pid}"))

        first = until(leads)
        first.send_signal(signal.SIGKILL)
        second = until(leads)
        second.send_signal(signal.SIGSTOP)
        third = until(leads)
        assert len({first.pid, second.pid, third.pid}) == 3
        second.send_signal(signal.SIGCONT)
        assert second.wait(PATIENCE) != 0
        assert second.stderr is not None
        said = second.stderr.read().splitlines()[-1]
        # A request that it was in the middle of when it was stopped has had no time left; any later one is refused.
        assert said.startswith(tuple(f"tenure.errors.{name}:" for name in REFUSED)), said
        leader = election.leader()
        assert leader is not None
        assert leader.token == tokens[-1], "the third process leads on"
