"""``tenure lock`` and ``tenure elect``: run a command while this process holds a lock, or leads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from tenure.cli.commands.run import report_not_found
from tenure.cli.completion import lock_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.holding import Task, run_while_held
from tenure.cli.process.registration import Reporter

if TYPE_CHECKING:
    from tenure._client.store import Store
    from tenure.recipes._holding import Acquires, Held
    from tenure.recipes.session import Session

F = TypeVar("F", bound=Callable[..., object])


def _holding_options(function: F) -> F:
    for option in reversed(
        [
            click.option(
                "--wait",
                type=click.FloatRange(min=0, min_open=True),
                metavar="SECONDS",
                help="Give up after this time, with exit code 75. Default: wait without a limit.",
            ),
            click.option(
                "--ttl",
                type=click.FloatRange(min=0, min_open=True),
                default=10.0,
                show_default=True,
                metavar="SECONDS",
                help="So long after a crash others can have it. The command gets SIGTERM a quarter of it before "
                "SIGKILL, if the store can't be reached.",
            ),
            click.option("--quiet", "-q", is_flag=True, help="Print nothing on stderr unless something fails."),
            click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED),
        ]
    ):
        function = option(function)
    return function


@click.command(short_help="Run a command while holding a lock.")
@click.argument("name", shell_complete=lock_names)
@click.option("--shared", is_flag=True, help="Hold it together with others that share it.")
@click.option("--no-wait", is_flag=True, help="Give up at once if others are in the way, with exit code 75.")
@click.option("--semaphore", type=click.IntRange(min=1), metavar="N", help="Hold one of N permits instead of a lock.")
@_holding_options
@common()
@settings
def lock(
    options: Settings,
    *,
    name: str,
    shared: bool,
    semaphore: int | None,
    wait: float | None,
    no_wait: bool,
    ttl: float,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Run a COMMAND while holding the lock NAME: on all machines, one at a time.

    \b
    tenure lock nightly-report -- ./report.sh

    The command finds its fencing token in TENURE_TOKEN. "tenure lock" exits with the command's exit code, which is
    128+n if signal n ended it. It exits with 75 if it did not get the lock in time, and 79 if the lock was lost.

    If the lock is about to be lost, or "tenure lock" is stopped or killed, the command gets SIGTERM and then SIGKILL.
    Others can't get the lock before that. The lock is released when no process of the command's group is left. SIGTERM,
    SIGINT and SIGQUIT are passed on to the command. Remarks go to stderr; stdout is the command's.
    """
    if shared and semaphore is not None:
        raise click.UsageError("--shared and --semaphore exclude each other")
    if no_wait and wait is not None:
        raise click.UsageError("--wait and --no-wait exclude each other")

    def contest(store: Store, session: Session) -> Acquires:
        from tenure.recipes.lock import Lock
        from tenure.recipes.read_write_lock import ReadWriteLock
        from tenure.recipes.semaphore import Semaphore

        if semaphore is not None:
            return Semaphore(store, name, limit=semaphore, session=session)
        return ReadWriteLock(store, name, session=session).read if shared else Lock(store, name, session=session)

    def acquire(store: Store, session: Session) -> Held | None:
        one = contest(store, session)
        return one.try_acquire() if no_wait else one.acquire(timeout=wait)

    what = f"a permit of the semaphore {name!r}" if semaphore is not None else f"the lock {name!r}"
    _run(options, Task(what, name, acquire, ttl, command), quiet=quiet)


@click.command(short_help="Run a command while leading an election.")
@click.argument("name", shell_complete=lock_names)
@click.option("--candidate", metavar="NAME", help="This candidate's name. Default: host and process id.")
@click.option("--data", default="", metavar="TEXT", help="For those who ask who leads, such as an address.")
@_holding_options
@common()
@settings
def elect(
    options: Settings,
    *,
    name: str,
    candidate: str | None,
    data: str,
    wait: float | None,
    ttl: float,
    quiet: bool,
    command: tuple[str, ...],
) -> None:
    """Wait to lead the election NAME, then run a COMMAND. The term ends when the command has ended.

    \b
    tenure elect scheduler --data 10.0.0.1:8080 -- ./scheduler

    Signals, exit codes and the fencing token in TENURE_TOKEN are those of "tenure lock".
    """

    def acquire(store: Store, session: Session) -> Held:
        from tenure.recipes.election import Election

        return Election(store, name, candidate=candidate, data=data, session=session).campaign(timeout=wait)

    _run(options, Task(f"the election {name!r}", name, acquire, ttl, command), quiet=quiet)


def _run(options: Settings, task: Task, *, quiet: bool) -> None:
    if shutil.which(task.command[0]) is None:
        report_not_found(task.command[0], f"nothing was acquired; {task.name!r} was taken for the name to acquire")
    report = Reporter(json=options.json, quiet=quiet)
    code = run_while_held(options.prepare(), task, report)
    click.get_current_context().exit(code)
