"""One pass over all templates: render, compare, check, replace, and then run the commands that are due.

For each file:  rendered ── as it is ──► nothing is done
                         ── different ─► checked ── refused ──► the file stays
                                                 ── accepted ─► replaced, and its command is due
A command that several files share runs once, after all of them. One that fails stays due. What may succeed later on,
such as a command, a check that resolves names, or a call to the store, is tried again after a pause that doubles from
1 s to 60 s. The same failure is told once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tenure.errors import TenureError
from tenure.plugin_kit import monotonic
from tenure_gateway.directory import Sight
from tenure_gateway.events import Teller
from tenure_gateway.render.commands import Outcome, run, with_candidate
from tenure_gateway.render.keys import FollowedKeys
from tenure_gateway.render.output_file import OutputFile
from tenure_gateway.render.plan import Job, Plan
from tenure_gateway.render.templates import RenderError, Template

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class _Retry:
    pause: float
    at: float


@dataclass(slots=True)
class _Entry:
    job: Job
    template: Template
    file: OutputFile | None
    refused: bytes | None = None
    problem: str = ""
    retry: _Retry | None = None

    def succeeded(self) -> None:
        self.refused, self.problem, self.retry = None, "", None


class Renderer:
    """Renders the files of a plan. Used by one thread.

    Args:
        plan: what to render.
        teller: where events go.
        stopping: returns whether the program is asked to end.

    Raises:
        RenderError: a template can't be read.
    """

    def __init__(self, plan: Plan, teller: Teller, stopping: Callable[[], bool] = lambda: False) -> None:
        self._plan = plan
        self._teller = teller
        self._stopping = stopping
        self._entries = [
            _Entry(job, Template(job.source), None if str(job.out) == "-" else OutputFile(job.out, job.mode))
            for job in plan.jobs
        ]
        self._retries: dict[str, _Retry] = {}

    def reload(self) -> None:
        """Read the templates again. One that can't be read stays as it was, and that is reported."""
        for entry in self._entries:
            try:
                entry.template.load()
                entry.succeeded()
            except RenderError as exc:
                self._teller.tell("failed", f"{exc}; the template stays as it was", source=str(entry.job.source))
        self._retries.clear()

    def render(self, sight: Sight, keys: FollowedKeys) -> bool:
        """Render all files, and run the commands that are due. Reports what it does.

        Returns:
            Whether all files are as they should be, and no command is due.
        """
        results = [self._render(entry, sight, keys) for entry in self._entries]
        keys.end_pass()
        return self.run_due() and all(results)

    def run_due(self) -> bool:
        """Run the commands that are due, unless they wait for another attempt. Return whether none is due."""
        due: dict[str, list[OutputFile]] = {}
        for entry in self._entries:
            if entry.job.command is not None and entry.file is not None and entry.file.due:
                due.setdefault(entry.job.command, []).append(entry.file)
        results = [self._run(command, files) for command, files in due.items()]
        return all(results)

    def next_attempt(self) -> float:
        """Return when something that has failed is tried again, on the monotonic clock; infinite if nothing has."""
        entries = [entry.retry for entry in self._entries if entry.retry is not None]
        return min((retry.at for retry in [*entries, *self._retries.values()]), default=math.inf)

    # -- one file ----------------------------------------------------------------------------------------

    def _render(self, entry: _Entry, sight: Sight, keys: FollowedKeys) -> bool:
        try:
            content = entry.template.render(sight, keys)
            if entry.file is None:
                sys.stdout.buffer.write(content)
                sys.stdout.flush()
                return True
            if content == entry.file.content():
                entry.succeeded()
                return True
            waits = entry.retry is not None and monotonic() < entry.retry.at
            return not (waits and content == entry.refused) and self._replace(entry, entry.file, content)
        except RenderError as exc:
            entry.retry = None  # only a change can help
            self._fail(entry, str(exc))
        except TenureError as exc:
            entry.retry = _later(entry.retry)
            self._fail(entry, str(exc))
        except OSError as exc:
            entry.retry = _later(entry.retry)
            self._fail(entry, f"writing it: {exc}")
        return False

    def _replace(self, entry: _Entry, file: OutputFile, content: bytes) -> bool:
        job = entry.job
        with ExitStack() as stack:
            candidate = stack.enter_context(file.candidate(content))
            if job.check is not None:
                outcome = self._command(with_candidate(job.check, candidate))
                if outcome.problem:
                    entry.retry = _later(entry.retry if entry.refused == content else None)
                    self._refuse(entry, candidate, outcome, again=entry.refused == content)
                    entry.refused = content
                    return False
            file.replace(candidate, due=job.command is not None)
        entry.succeeded()
        if job.command is not None:
            self._retries.pop(job.command, None)
        self._teller.tell("rendered", f"{job.out}: replaced", out=str(job.out), bytes=len(content))
        return True

    def _refuse(self, entry: _Entry, candidate: Path, outcome: Outcome, *, again: bool) -> None:
        out = str(entry.job.out)
        said = outcome.output.replace(str(candidate), out)
        problem = f"the check refused the new content ({outcome.problem}): {said or 'it said nothing'}"
        if not again or problem != entry.problem:
            message = f"{out}: stays as it is, since {problem}"
            self._teller.tell("refused", message, out=out, problem=outcome.problem, output=said)
        entry.problem = problem

    def _fail(self, entry: _Entry, problem: str) -> None:
        if problem != entry.problem:  # the same problem is told once
            self._teller.tell("failed", f"{entry.job.out}: stays as it is: {problem}", out=str(entry.job.out))
        entry.problem = problem

    # -- commands ----------------------------------------------------------------------------------------

    def _run(self, command: str, files: list[OutputFile]) -> bool:
        retry = self._retries.get(command)
        if retry is not None and monotonic() < retry.at:
            return False
        outcome = self._command(command)
        if not outcome.problem:
            self._retries.pop(command, None)
            for file in files:
                file.done()
            self._teller.tell("executed", f"{command}: done in {outcome.seconds:.2f} s", command=command)
            return True
        again = self._retries[command] = _later(retry)
        self._teller.tell(
            "failed",
            f"{command}: failed ({outcome.problem}): {outcome.output or 'it said nothing'}; it is tried again in "
            f"{again.pause:g} s",
            command=command,
            problem=outcome.problem,
            output=outcome.output,
        )
        return False

    def _command(self, command: str) -> Outcome:
        try:
            return run(command, deadline=self._plan.deadline, stopping=self._stopping)
        except OSError as exc:  # no process, no memory: another time
            return Outcome(f"it can't be started: {exc}", "", 0.0)


def _later(before: _Retry | None) -> _Retry:
    pause = _FIRST_PAUSE if before is None else min(2 * before.pause, _LONGEST_PAUSE)
    return _Retry(pause, monotonic() + pause)
