"""Runs ``tenure conformance`` on every store, on a server of its own that is killed, frozen and filled.

    python tests/conformance/run_matrix.py [--store NAME ...] [--profile quick|full] [--repeat N] [--rule RULE ...]
                                             [--reports FOLDER] [--into PAGE] [--claims FOLDER]

A line for each run: conclusion, numbers, time. It stops at the first run that isn't conformant, shows what was found,
and ends with exit code 1; likewise, at the end, if a run took longer than its limit. Reports, pages and what the
command printed are in the folder. ``--into`` writes the matrix of the last reports into a page of the documentation. It
replaces the page's matrix, so a run of fewer stores than the page has, or of some rules, is refused before it begins.
``--claims core/docs/claims`` keeps what the reports show as claims, from which the table of supported versions is made,
and brings the index of claims up to date.
Servers are those of ``tests/support``, with the limits they have by default, each run on a new one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "contrib/tenure-postgresql/tests/support")]

from tenure.conformance.controls.controls import ServerControls  # noqa: E402 - the path has to be set first
from tenure.conformance.report.matrix import BEGIN, END  # noqa: E402
from tenure.conformance.report.verify import verify  # noqa: E402
from tenure.conformance.runner.runner import all_rules  # noqa: E402
from tenure_testkit.servers.controls import controls, file_controls, memory_controls  # noqa: E402

LIMITS = {"quick": 180.0, "full": 900.0}
"""Seconds for a run of a profile."""
LIMIT_IN_PROCESS = 60.0
"""Seconds for a run on a store that is nothing but memory."""
HOPELESS = 3.0
"""So many times its limit, and a run is ended."""
DISK = 512 << 20
"""Bytes of a disk that can be filled without taking long, and on which no other rule runs out of room."""

Started = tuple[str, ServerControls]
"""A store's URL and its controls."""

store_controls = ServerControls()
"""What the command is told to use: ``--controls __main__:store_controls``."""


def memory(stack: ExitStack) -> Started:
    """In this process; killing it means that it doesn't answer."""
    return "memory://tried", memory_controls("tried")


def sqlite(stack: ExitStack) -> Started:
    """A file; it has no server."""
    file = f"{stack.enter_context(tempfile.TemporaryDirectory())}/tried.db"
    return f"sqlite://{file}", file_controls(file)


def etcd(stack: ExitStack) -> Started:
    """A single server."""
    from tenure_testkit.servers import EtcdServer

    server = on_disk(stack, EtcdServer())
    return server.url, of_container(
        server, compact=server.gateway.compact, backup=server.back_up, restore=server.restore
    )


def redis(stack: ExitStack) -> Started:
    """A single server that has what it acknowledged on its disk."""
    from tenure_testkit.servers.redis import RedisServer

    server = on_disk(stack, RedisServer())
    return server.url, of_container(server, compact=server.trim)


def zookeeper(stack: ExitStack) -> Started:
    """A single server."""
    from tenure_testkit.servers.zookeeper import ZooKeeperServer

    server = on_disk(stack, ZooKeeperServer(quick=False))
    return server.url, of_container(server)


def consul(stack: ExitStack) -> Started:
    """A single server."""
    from tenure_testkit.servers.consul import ConsulServer

    server = on_disk(stack, ConsulServer(quick=False))
    return server.url, of_container(server)


def postgresql(stack: ExitStack) -> Started:
    """A single server; the store is another distribution, to be installed beside."""
    from postgresql_server import Disk, PostgresqlServer

    disk = stack.enter_context(Disk(DISK))
    server = stack.enter_context(PostgresqlServer("max_wal_size=128MB", disk=disk))
    return server.url(), dataclasses.replace(server.controls(), cut=None)


STORES: dict[str, Callable[[ExitStack], Started]] = {
    store.__name__: store for store in (memory, sqlite, etcd, redis, zookeeper, consul, postgresql)
}


MODES = {
    "memory": "in this process",
    "sqlite": "a file",
    "redis": "a single server that writes to its disk before it answers",
}
"""How each server is set up, where it is more than a single one with its data on a disk."""


def keep_claims(folder: Path, reports: dict[str, Path]) -> None:
    """Write a claim for each report, and the index of all claims of the folder into the page about them."""
    from tenure.conformance.claims import badge, claim, index

    folder.mkdir(parents=True, exist_ok=True)
    for store, path in reports.items():
        made = claim.claim(
            json.loads(path.read_bytes()),
            contact="the maintainers, by an issue",
            mode=MODES.get(store, "a single server, data on a disk"),
            reproduce=f"python tests/conformance/run_matrix.py --store {store}",
        )
        (folder / f"{store}.json").write_text(claim.written(made), encoding="utf-8")
        (folder / f"{store}.svg").write_text(badge.badge(made), encoding="utf-8")
    kept = [claim.parsed(path.read_bytes(), str(path)) for path in sorted(folder.glob("*.json"))]
    page = ROOT / "core/docs/reference/claims.md"
    page.write_text(index.into(page.read_text(encoding="utf-8"), kept), encoding="utf-8")


def on_disk(stack: ExitStack, server: Any) -> Any:
    """Start a server whose data are on a disk that can be filled."""
    from tenure_testkit.servers.disk import SmallDisk

    server.disk = stack.enter_context(SmallDisk(server.image_folder, DISK))
    return stack.enter_context(server)


def of_container(server: Any, **others: Any) -> ServerControls:
    """What can be done to each server in a container. Connections are cut by the suite's own network."""

    def free_disk() -> None:
        server.disk.free()
        server.recover()

    return controls(server, fill_disk=server.disk.fill, free_disk=free_disk, **others)


def one(store: str, arguments: Sequence[str]) -> int:
    """In a process of its own: start the server and run the command on it; answers its exit code."""
    global store_controls
    from tenure.cli.app import cli

    with ExitStack() as stack:
        url, store_controls = STORES[store](stack)
        words = [
            "conformance",
            url,
            *(["--controls", "__main__:store_controls"] if store_controls != ServerControls() else []),
            *arguments,
        ]
        try:
            cli.main(words, prog_name="tenure")
        except SystemExit as exc:
            return exc.code if isinstance(exc.code, int) else 1
    return 0


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What came of one run."""

    store: str
    document: dict[str, Any] | None
    trouble: str
    """Why it doesn't count; empty if it does."""
    seconds: float = 0.0
    limit: float = 0.0

    @property
    def line(self) -> str:
        """For the one who waits."""
        if self.document is None:
            return f"no report: {self.trouble}"
        numbers = self.document["numbers"]
        parts = [f"{numbers[name]} {name.replace('_', ' ')}" for name in ("executed", "not_supported", "inconclusive")]
        slow = f", over the limit of {self.limit:.0f} s" if self.seconds > self.limit else ""
        return f"{self.document['conclusion']:14} {', '.join(parts)}; {self.seconds:.1f} s{slow}"


def run_store(store: str, profile: str, rules: Sequence[str], report: Path) -> Result:
    """One run on one store, verified."""
    limit = LIMIT_IN_PROCESS if store == "memory" else LIMITS[profile]
    command = [sys.executable, __file__, "--one", store, "--profile", profile, "--report", str(report)]
    command += [word for rule in rules for word in ("--rule", rule)]
    report.unlink(missing_ok=True)
    with report.with_suffix(".log").open("wb") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=limit * HOPELESS, check=False)
        except subprocess.TimeoutExpired:
            return Result(store, None, f"it didn't end within {limit * HOPELESS:.0f} s")
    if not report.exists():
        return Result(store, None, f"it ended with {done.returncode}, see {log.name}")
    document = json.loads(report.read_bytes())
    trouble = [f"{rule['verdict']}: {rule['reason']}" for rule in document["rules"] if rule["verdict"] in _WRONG]
    trouble += [f"the report is not valid: {problem}" for problem in verify(document, all_rules()).problems]
    if document["conclusion"] != ("partial" if rules else "conformant"):
        trouble.append(f"the conclusion is {document['conclusion']}")
    return Result(store, document, "\n".join(trouble), document["run"]["seconds"], limit)


_WRONG = ("fail", "inconclusive", "unknown")


def would_be_lost(page: str, stores: Sequence[str], rules: Sequence[str]) -> str:
    """Say what of the page's matrix a run of these stores and rules would not write again; empty if nothing."""
    matrix = page.partition(BEGIN)[2].partition(END)[0]
    columns = [cell.strip() for cell in matrix.partition("\n")[0].strip("|").split("|")][1:]
    missing = [column for column in columns if column not in stores]
    if missing:
        return f"the columns of {', '.join(missing)}"
    return "the rows of the other rules" if rules and columns else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; answers the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="append", choices=list(STORES), help="only this one; may be repeated")
    parser.add_argument("--profile", choices=list(LIMITS), default="quick")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="so many times, one store after another")
    parser.add_argument("--rule", action="append", default=[], metavar="RULE", help="only this one, or those like it")
    parser.add_argument("--reports", type=Path, metavar="FOLDER", help="default: a new one for temporary files")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="write the matrix into this page")
    parser.add_argument("--claims", type=Path, metavar="FOLDER", help="keep what the reports show as claims here")
    parser.add_argument("--one", choices=list(STORES), help=argparse.SUPPRESS)
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    rules = [word for rule in given.rule for word in ("--rule", rule)]
    if given.one:
        page = given.report.with_suffix(".html")
        return one(given.one, ["--profile", given.profile, "--report", str(given.report), "--html", str(page), *rules])
    stores = given.store or list(STORES)
    if given.into is not None and (lost := would_be_lost(given.into.read_text("utf-8"), stores, given.rule)):
        parser.error(
            f"--into {given.into}: the page's matrix would lose {lost}; run all its stores and rules, or keep reports "
            "of all with --reports and write them with 'tenure conformance matrix --into PAGE REPORT ...'"
        )
    folder = given.reports or Path(tempfile.mkdtemp(prefix="tenure-reports-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"reports in {folder}", flush=True)
    slow, reports = False, {}
    for store in stores:
        for number in range(1, given.repeat + 1):
            name = f"{store}-{given.profile}" + (f"-{number:02}" if given.repeat > 1 else "")
            result = run_store(store, given.profile, given.rule, folder / f"{name}.json")
            count = f" {number:2}/{given.repeat}" if given.repeat > 1 else ""
            print(f"{store:10} {given.profile}{count}  {result.line}", flush=True)
            if result.trouble:
                print(result.trouble)
                return 1
            slow = slow or result.seconds > result.limit
        reports[store] = folder / f"{name}.json"
        if given.claims is not None and not given.rule:
            keep_claims(given.claims, reports)
    if given.into is not None:
        from tenure.cli.app import cli

        with contextlib.suppress(SystemExit):
            cli.main(
                ["conformance", "matrix", "--into", str(given.into), *map(str, reports.values())], prog_name="tenure"
            )
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
