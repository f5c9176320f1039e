"""``tenure mirror``: a namespace kept the same in another store until stopped, for a move without a break."""

from __future__ import annotations

import signal

import click

from tenure._runtime.deadline import monotonic
from tenure._text import seconds
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import Reporter
from tenure.cli.process.signals import ENDING, SignalInbox
from tenure.migration.mirror import Mirror


@click.command(short_help="Keep a namespace the same in another store.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--lease-grace",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long copies of keys with a lease stay in TO after the mirror has ended.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr unless something fails.")
@common(url=False)
@settings
def mirror(options: Settings, *, source: str, target: str, lease_grace: float, quiet: bool) -> None:
    """Make the namespace of the URL TO an exact copy of the one of FROM, and keep it one until stopped.

    TO must be empty, or hold an earlier mirror of FROM. When the command starts again, it reconciles both sides
    (keys that FROM doesn't have are deleted in TO) and follows again. It waits while either side is unavailable.
    Only one mirror writes to a namespace at a time.

    Keys with a lease, such as registered services, are copied under a lease of the mirror. When a process registers
    in TO itself, the mirror skips its key from then on. With an id that it also has in FROM, the process registers
    with take_over=True, or waits until the copy is removed. Ctrl-C and SIGTERM end the mirror (exit codes 130 and
    143); copies of leased keys are removed --lease-grace SECONDS later. The key "leasehold-mirror" stays in TO:
    delete it when all processes have moved.
    """
    report = Reporter(json=options.json, quiet=quiet)
    with SignalInbox() as inbox:
        stopping = _Stopping(inbox)
        with options.connect(source) as origin, options.connect(target) as destination:
            report.say("mirroring", f"mirroring {origin.url} to {destination.url}")
            working = Mirror(origin, destination, ttl=lease_grace, tell=report.say, stop=stopping)
            staying = working.run()
            done = working.totals
            report.say(
                "stopped",
                f"stopped after {done.written} written and {done.deleted} deleted; copies of keys with a lease go "
                f"within {seconds(staying)}",
                written=done.written,
                deleted=done.deleted,
                skipped=done.skipped,
                staying=staying,
            )
    click.get_current_context().exit(128 + stopping.number)


class _Stopping:
    """Whether a signal has asked to end; waits for one when called."""

    def __init__(self, inbox: SignalInbox) -> None:
        self._inbox = inbox
        self.number = 0

    def __call__(self, pause: float) -> bool:
        deadline = monotonic() + pause
        while not self.number:
            taken = self._inbox.take(deadline - monotonic())
            if taken is None:
                return False
            if taken.si_signo in ENDING or taken.si_signo == signal.SIGHUP:
                self.number = taken.si_signo
        return True
