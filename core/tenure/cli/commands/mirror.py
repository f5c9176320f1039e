"""``tenure mirror``: a namespace kept the same in another store until stopped, for a move without a break."""

from __future__ import annotations

import signal
import time

import click

from tenure._text import seconds
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import Reporter
from tenure.cli.process.signals import ENDING, SignalInbox
from tenure.migration.mirror import Mirror


@click.command(short_help="Keep a namespace the same in another store.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--handover",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long copies of keys with a lease stay in TO after the mirror has ended.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr unless something fails.")
@common(url=False)
@settings
def mirror(options: Settings, *, source: str, target: str, handover: float, quiet: bool) -> None:
    """Make the namespace of the URL TO an exact copy of the one of FROM, and keep it one until stopped.

    TO has to be empty, or this command's work from before: started again, it levels both sides (what FROM doesn't
    have is deleted in TO) and follows again. Outages of either side are waited for. Only one mirror writes to a
    namespace at a time.

    Keys that hang on a lease, such as registered services, are copied under a lease of the mirror. A process that
    registers in TO itself is left alone from then on; with an id that it also has in FROM it registers with
    take_over=True, or waits for the copy to go. Ctrl-C and SIGTERM end the mirror (exit codes 130 and 143); the copies
    of leased keys go --handover SECONDS later. The key "leasehold-mirror" stays in TO: delete it when all have moved.
    """
    report = Reporter(json=options.json, quiet=quiet)
    with SignalInbox() as inbox:
        stopping = _Stopping(inbox)
        with options.connect(source) as origin, options.connect(target) as destination:
            report.say("mirroring", f"mirroring {origin.url} to {destination.url}")
            working = Mirror(origin, destination, ttl=handover, tell=report.say, stop=stopping)
            staying = working.run()
            done = working.totals
            report.say(
                "stopped",
                f"stopped after {done.written} written and {done.deleted} deleted; copies of keys with a lease go "
                f"within {seconds(staying)}",
                written=done.written,
                deleted=done.deleted,
                left_alone=done.left_alone,
                staying=staying,
            )
    click.get_current_context().exit(128 + stopping.number)


class _Stopping:
    """Whether a signal has asked to end; waits for one when called."""

    def __init__(self, inbox: SignalInbox) -> None:
        self._inbox = inbox
        self.number = 0

    def __call__(self, pause: float) -> bool:
        deadline = time.monotonic() + pause
        while not self.number:
            taken = self._inbox.take(deadline - time.monotonic())
            if taken is None:
                return False
            if taken.si_signo in ENDING or taken.si_signo == signal.SIGHUP:
                self.number = taken.si_signo
        return True
