"""Proves the conformance suite: tries it on every broken store and on sound ones.

    python tests/conformance/run_mutants.py [--json FILE] [--processes N] [--intended] [--verbose] [NAME or AREA ...]

What does not come out as it has to while waits are cut (``mutants/short_timeouts.py``) is tried again with the suite's
own waits, and that counts: only time can have been short before.

Every mutant is tried with all rules of its area (``--intended``: with the rules named by it alone), each sound store
with all rules there are. Shown are which rule killed which mutant, the mutation score, and rules that kill none. For a
mutant that is chosen by its name, or with ``--verbose`` for all, the messages of the rules that killed it are shown.
The exit code is 1 if a mutant survives, or is found by rules of other areas only or not by the intended ones, if a
rule finds something in a sound store, if a mutant of the harness ends otherwise than it has to, or if a rule kills
nothing and ``mutants/unkilled_rules.py`` gives no reason for it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tenure.conformance.runner.runner import all_rules

if __package__:
    from .mutants import CONTROLS, HARNESS, MUTANTS, STAYING, area_of
    from .mutants.results import Matrix
    from .mutants.run_one import Job, try_all
else:
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "support")]
    from mutants import CONTROLS, HARNESS, MUTANTS, STAYING, area_of
    from mutants.results import Matrix
    from mutants.run_one import Job, try_all

PROCESSES = 12
"""More than there are cores: most of the time is spent waiting for leases to end."""

AGAIN = 4
"""So many at a time are tried again."""

FOLDER = Path(__file__).with_name("mutants")

SLOW = ("faults", "watches", "restarts", "spi")
"""Areas whose mutants are tried first, so that no long one is left at the end."""


def unknown(chosen: Sequence[str]) -> list[str]:
    """Return a line for each word that names no area and no mutant that is tried."""
    known = {each.__name__ for each in MUTANTS} | {area_of(each) for each in MUTANTS}
    lines = []
    for word in chosen:
        if word in known:
            continue
        written = [
            path.name
            for path in FOLDER.glob("*.py")
            if re.search(rf"^class {re.escape(word)}\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        ]
        if written:
            lines.append(f"{word} isn't tried: add it to MUTANTS at the end of mutants/{written[0]}")
        else:
            areas = sorted({area_of(each) for each in MUTANTS})
            lines.append(f"there is no mutant {word!r} and no such area; the areas are {', '.join(areas)}")
    return lines


def prove(chosen: Sequence[str], *, intended: bool, processes: int, show: bool) -> Matrix:
    """Try what was chosen (names of mutants or areas; none: everything)."""
    rules = [rule.id for rule in all_rules()]
    mutants = [each for each in MUTANTS if not chosen or each.__name__ in chosen or area_of(each) in chosen]
    if intended:
        wanted = sorted({rule for each in mutants for rule in each.rules})
        controls = [Job(each, tuple(wanted)) for each in CONTROLS]
        jobs = [Job(each, each.rules) for each in mutants]
    else:
        areas = dict.fromkeys(area_of(each) for each in mutants)
        controls = [Job(each, tuple(f"{area}.*" for area in areas)) for each in CONTROLS]
        jobs = [Job(each, (f"{area_of(each)}.*",)) for each in mutants]
        rules = [rule for rule in rules if rule.partition(".")[0] in areas] if chosen else rules
    harness = [] if chosen else [Job(each, each.tried) for each in HARNESS]
    whole = not intended and not any(each.__name__ in chosen for each in mutants)
    matrix = Matrix(rules, jobs, controls, harness=harness, whole=whole)

    def done(job: Job) -> None:
        if show:
            mark = "killed" if matrix.killers(job) else "SURVIVED"
            if job in controls or job in harness:
                mark = "" if job.conclusion is None else job.conclusion.value
            print(f"{job.mutant.__name__:28} {job.seconds:6.1f} s  {mark}", flush=True)

    slow_first = sorted(jobs, key=lambda job: [*SLOW, area_of(job.mutant)].index(area_of(job.mutant)))
    try_all([*controls, *harness, *slow_first], processes, done=done)
    again = matrix.doubtful
    for job in again:
        if show:
            print(f"{job.mutant.__name__:28} is tried again with the suite's own waits", flush=True)
        job.findings, job.conclusion = {}, None
    try_all(again, AGAIN, patient=True, done=done)
    survivors = [Job(job.mutant, tuple(rules)) for job in jobs if not matrix.killers(job)]
    if survivors and not intended:
        try_all(survivors, AGAIN, patient=True)
    matrix.elsewhere = {job.mutant.__name__: matrix.killers(job) for job in survivors}
    return matrix


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chosen", nargs="*", metavar="NAME or AREA", help="only these mutants")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything found to this file")
    parser.add_argument("--processes", type=int, default=PROCESSES, metavar="N", help="mutants tried at a time")
    parser.add_argument("--intended", action="store_true", help="only the rules that each mutant names")
    parser.add_argument("--verbose", action="store_true", help="show what the rules said of each mutant")
    arguments = parser.parse_args()
    if wrong := unknown(arguments.chosen):
        parser.error("; ".join(wrong))
    started = time.monotonic()
    matrix = prove(arguments.chosen, intended=arguments.intended, processes=arguments.processes, show=True)
    problems = matrix.problems(STAYING)
    if arguments.json:
        arguments.json.write_text(json.dumps(matrix.json(STAYING), indent=1) + "\n")
    print(f"\n{matrix.text()}")
    for job in matrix.mutants:
        if arguments.verbose or job.mutant.__name__ in arguments.chosen:
            print(matrix.messages(job))
    if matrix.whole:
        for rule in matrix.idle:
            print(f"kills none: {rule}: {STAYING.get(rule, 'WITHOUT A REASON')}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    killed = sum(1 for job in matrix.mutants if matrix.killers(job))
    print(
        f"mutation score {matrix.score:.1%}: {killed} of {len(matrix.mutants)} mutants killed in their own area; "
        f"{len(matrix.rules) - len(matrix.idle)} of {len(matrix.rules)} rules kill; "
        f"{len(matrix.controls)} sound stores; {len(matrix.harness)} mutants of the harness; "
        f"{len(problems)} problems; {time.monotonic() - started:.0f} s"
    )
    return 1 if problems or not matrix.mutants else 0


if __name__ == "__main__":
    sys.exit(main())
