"""``tenure render``: keep files up to date from the registry and from keys, until a signal ends it.

The loop takes wishes from one queue: a change, a signal. Signal handlers only put into it, which is safe at any line.
"""

from __future__ import annotations

import contextlib
import queue
import signal
from pathlib import Path
from time import monotonic

import click

from tenure._outages import OutageTracker
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.outages import show_outage
from tenure.errors import ConfigError
from tenure.registry import RegistryConfig
from tenure_gateway.directory import DEFAULT_GRACE, Directory
from tenure_gateway.events import Teller
from tenure_gateway.opening import Remarks, followed
from tenure_gateway.render.keys import FollowedKeys
from tenure_gateway.render.plan import DEFAULT_DEADLINE, DEFAULT_INTERVAL, Job, Plan, parse_mode, read_plan
from tenure_gateway.render.renderer import Renderer
from tenure_gateway.render.templates import RenderError

_LOOK = 0.5
_ENDING = (signal.SIGTERM, signal.SIGINT)


class _Wishes:
    """What the loop is asked for: to look, to read the templates again, to end."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.end = False
        self.reload = False
        self.look = True

    def changed(self) -> None:
        """Ask for a look. Any thread may call it."""
        self.look = True
        self._queue.put(None)

    def signalled(self, number: int, _frame: object) -> None:
        """Take a signal."""
        if number in _ENDING:
            self.end = True
        else:
            self.reload = True
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a wish, at most this long."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=max(0.0, seconds))
            while True:
                self._queue.get_nowait()

    def rest(self, seconds: float) -> None:
        """Wait this long, or for a signal: changes wait meanwhile."""
        until = monotonic() + seconds
        while not self.end and not self.reload and (left := until - monotonic()) > 0:
            self.wait(left)

    def pause(self, seconds: float) -> bool:
        """Wait this long, or for a signal that ends it. Return whether to go on."""
        until = monotonic() + seconds
        while not self.end and (left := until - monotonic()) > 0:
            self.wait(left)
        return not self.end


@click.command(short_help="Keep files up to date from the registry.")
@click.argument("template", required=False, type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--templates", type=click.Path(path_type=Path), metavar="FILE", help="Several templates, from a TOML file."
)
@click.option("--exec", "command", metavar="COMMAND", help="Run after OUT was replaced, such as 'nginx -s reload'.")
@click.option("--check", metavar="COMMAND", help="Has to accept the new file first; {} stands for its path.")
@click.option("--mode", metavar="OCTAL", help="Permissions of OUT. Default: as they are, 0644 for a new file.")
@click.option("--interval", type=float, metavar="SECONDS", help=f"At most one rendering in it. [{DEFAULT_INTERVAL:g}]")
@click.option("--deadline", type=float, metavar="SECONDS", help=f"Of each command. [{DEFAULT_DEADLINE:g}]")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=DEFAULT_GRACE,
    show_default=True,
    metavar="SECONDS",
    help="After an outage, instances that are gone stay so long: they may register again.",
)
@click.option("--once", is_flag=True, help="Render once and end; OUT may be - for stdout.")
@common(registry=True)
@settings
def render(
    options: Settings,
    *,
    template: Path | None,
    out: Path | None,
    templates: Path | None,
    command: str | None,
    check: str | None,
    mode: str | None,
    interval: float | None,
    deadline: float | None,
    grace: float,
    once: bool,
) -> None:
    """Render the Jinja2 file TEMPLATE to OUT whenever the registry, or a key that it reads, has changed.

    OUT is replaced as a whole, and only if its content changes. While the store is away, OUT stays as it is.
    SIGHUP reads the templates again. SIGTERM and Ctrl-C end it with exit code 0. With --once the exit code is
    1 if a file is not as it should be, or a command failed.
    """
    if templates is not None:
        if template is not None or command is not None or check is not None or mode is not None:
            raise click.UsageError(
                "--templates says what to render: give no TEMPLATE, --exec, --check or --mode beside it"
            )
        plan = read_plan(templates)
    elif template is None or out is None:
        raise click.UsageError("give TEMPLATE and OUT, or --templates FILE")
    else:
        plan = Plan((Job(template, out, check, command, None if mode is None else parse_mode(mode)),))
    plan = Plan(
        plan.jobs,
        plan.interval if interval is None else interval,
        plan.deadline if deadline is None else deadline,
    )
    _check(plan, once=once)
    wishes = _Wishes()
    teller = Teller(options.output)
    try:
        renderer = Renderer(plan, teller, lambda: wishes.end)
    except RenderError as exc:
        raise ConfigError(str(exc)) from exc
    before = {number: signal.signal(number, wishes.signalled) for number in (*_ENDING, signal.SIGHUP)}
    try:
        fine = _run(options, plan, renderer, wishes, teller, grace=grace, once=once)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not fine:
        click.get_current_context().exit(1)


def _check(plan: Plan, *, once: bool) -> None:
    for job in plan.jobs:
        if job.check is not None and "{}" not in job.check:
            raise ConfigError(f"rendering {job.out}: the check {job.check!r} lacks {{}}, the path of the new file")
        if str(job.out) == "-" and (not once or job.command or job.check):
            raise ConfigError("rendering to stdout: - goes with --once, and without --exec and --check")


def _run(
    options: Settings, plan: Plan, renderer: Renderer, wishes: _Wishes, teller: Teller, *, grace: float, once: bool
) -> bool:
    directory = Directory(RegistryConfig(options.name).key_prefix, grace)
    with followed(options, directory, teller, changed=wishes.changed, pause=None if once else wishes.pause) as store:
        if store is None:
            return True
        keys = FollowedKeys(store, wishes.changed, directory.doubtful)
        try:
            if once:
                return renderer.render(directory.look(), keys)
            teller.tell("started", f"rendering from {store.url}; SIGHUP reads the templates again, SIGTERM ends")
            _follow(directory, renderer, keys, wishes, interval=plan.interval, teller=teller)
        finally:
            keys.close()
    teller.tell("ended", "ended; the files stay")
    return True


def _follow(
    directory: Directory, renderer: Renderer, keys: FollowedKeys, wishes: _Wishes, *, interval: float, teller: Teller
) -> None:
    remarks, tracker = Remarks(teller), OutageTracker()
    serial, next_at = -1, 0.0
    while not wishes.end:
        directory.check()
        sight = directory.look()
        remarks.tell(sight)
        remarks.tell_keys(keys.kept)
        wishes.look |= keys.settled
        outage = tracker.look(sight.age, directory.error)
        if outage is not None:
            show_outage(teller.output, outage, meanwhile="the files stay as they are")
        if wishes.reload:
            wishes.reload = False
            renderer.reload()
            teller.tell("reloaded", "the templates were read again")
            wishes.look = True
        now = monotonic()
        if sight.age == 0 and (wishes.look or sight.serial != serial) and now >= next_at:
            wishes.look = False  # before the look that is rendered: what changes meanwhile asks for another one
            next_at = now + interval
            sight = directory.look()
            serial = sight.serial
            renderer.render(sight, keys)
        elif now >= renderer.next_attempt():
            renderer.run_due()
        now = monotonic()
        wishes.rest(min(next_at - now, _LOOK))
        if not wishes.look or sight.age > 0:
            wishes.wait(min(_LOOK, renderer.next_attempt() - now))
