"""Shared by ``run`` and ``register``: the instance from the options, and a registration that waits for its store."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tenure._runtime.deadline import Deadline, monotonic
from tenure._runtime.retry import Backoff
from tenure._text import iso_time, json_text, ordinal, seconds, visible
from tenure.cli.options import Settings
from tenure.cli.process.signals import SignalInbox
from tenure.errors import OutcomeUnknown, StoreClosed, TenureError, Unavailable

if TYPE_CHECKING:
    from tenure.registry import HealthCheck, Instance, Registry, StatusChange

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
_LONGEST_PAUSE = 5.0
GOODBYE = 8.0
"""Seconds for everything after the command has ended: container engines kill ten seconds after they ask."""
_FOR_DEREGISTERING = 0.9
"""Part of the time left: the rest is for closing the connection."""


def meta_option(text: str) -> Callable[[F], F]:
    """The option ``--meta key=value``, to be given any number of times."""
    return click.option("--meta", metavar="KEY=VALUE", multiple=True, callback=_parse_meta, help=text)


def _parse_meta(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in value:
        name, equals, content = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", ctx, param)
        pairs[name] = content
    return pairs


def instance_options(function: F) -> F:
    """Options that describe the instance, and how it is kept registered."""
    for option in reversed(
        [
            click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port the service listens on."),
            click.option("--host", metavar="HOST", default="", help="Its address. Default: this machine's first IPv4."),
            click.option(
                "--id", "instance_id", default="", help="Id of the instance. Default: a new one for each start."
            ),
            meta_option("Goes with the instance; may be given again."),
            click.option(
                "--heartbeat",
                type=float,
                default=10.0,
                show_default=True,
                metavar="SECONDS",
                help="Time to live of the registration: so long after a crash it is gone.",
            ),
            click.option(
                "--wait",
                type=click.FloatRange(min=0),
                default=0.0,
                metavar="SECONDS",
                help="How long to wait for a store that is down, or for a leftover of the same --id to end, before "
                "giving up. Default: not at all.",
            ),
            click.option("--quiet", "-q", is_flag=True, help="Print nothing on stderr unless something fails."),
        ]
    ):
        function = option(function)
    return function


def probe_options(function: F) -> F:
    """Options that let an instance be registered only while probes of it succeed; they arrive as ``health``."""

    @functools.wraps(function)
    def call(*args: Any, probe: tuple[str, ...], **others: Any) -> object:
        pace = {name: others.pop(f"probe_{name}") for name in ("interval", "timeout", "rise", "fall")}
        return function(*args, health=_health(probe, pace) if probe else None, **others)

    def seconds(name: str, default: float, text: str) -> Callable[[F], F]:
        kind = click.FloatRange(min=0, min_open=True)
        return click.option(name, type=kind, default=default, show_default=True, metavar="SECONDS", help=text)

    def number(name: str, default: int, text: str) -> Callable[[F], F]:
        kind = click.IntRange(min=1)
        return click.option(name, type=kind, default=default, show_default=True, metavar="N", help=text)

    decorated: Any = call
    options: list[Any] = [
        click.option(
            "--probe",
            metavar="PROBE",
            multiple=True,
            help="Register when this succeeds, and drain while it fails: tcp, http:/PATH (both at the instance's "
            "address), tcp://HOST:PORT, http://HOST:PORT/PATH or exec:COMMAND. May be given again.",
        ),
        seconds("--probe-interval", 5.0, "Time between two probes."),
        seconds("--probe-timeout", 2.0, "A probe that takes longer has failed."),
        number("--probe-rise", 1, "Successes in a row until it counts as healthy."),
        number("--probe-fall", 3, "Failures in a row until it doesn't."),
    ]
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)


def _health(probes: tuple[str, ...], pace: dict[str, Any]) -> HealthCheck:
    from tenure.registry import HealthCheck
    from tenure.registry.model.probes import parse_probe

    each = [parse_probe(text) for text in probes]

    def all_of_them(instance: Instance, timeout: float) -> None:
        deadline = Deadline(timeout)
        for probe in each:
            probe(instance, deadline.remaining())

    return HealthCheck(all_of_them, start_timeout=None, **pace)


class Reporter:
    """Remarks on stderr (stdout belongs to the command that is run): lines, or JSON objects."""

    def __init__(self, *, json: bool, quiet: bool, stamped: bool = False) -> None:
        """``stamped``: each line has the time and the process, for a log that no other program stamps."""
        self._json = json
        self._quiet = quiet
        self._stamped = stamped

    def say(self, kind: str, text: str, *, always: bool = False, **more: Any) -> None:
        """Print one remark; ``kind`` identifies it for programs. ``always``: also if ``--quiet`` was given.

        Where stderr can't be written, as on a full disk, the remark is lost: what it is about goes on.
        """
        with contextlib.suppress(OSError):
            if self._json:
                record = {"time": iso_time(), "type": kind, "message": text, **more}
                click.echo(json_text(record, ascii_only=True), err=True)
            elif always or not self._quiet:
                lead = f"{datetime.now().astimezone():%H:%M:%S} tenure[{os.getpid()}]" if self._stamped else "tenure"
                click.echo(f"{lead}: {visible(text)}", err=True)


class StatusReporter:
    """Prints changes of a registration's status: what was lost, why, and after which time it is back."""

    def __init__(self, registry: Registry, report: Reporter) -> None:
        self._registry = registry
        self._report = report
        self._lease = registry.lease
        self._lost_at: float | None = None
        self._times = 0

    def __call__(self, change: StatusChange) -> None:
        """Print a change of status."""
        kind, text = str(change.status), f"{change.status}: {change.reason}" if change.reason else str(change.status)
        if change.part == "health":
            self._report.say(kind, text)
        elif change.part == "registration" and change.status == "recovering":
            self._report.say(kind, self._lost(change.reason))
        elif change.part == "registration" and change.status == "registered":
            self._report.say(kind, self._back(text))
        elif change.part == "registration" and change.status == "failed":
            self._report.say(kind, text)

    def _lost(self, reason: str) -> str:
        if self._lost_at is not None:
            return f"not registered again yet: {reason}"
        lease, instance = self._lease or self._registry.lease, self._registry.current()
        self._lost_at = self._registry.store.clock.now()
        ttl = ""
        if lease is not None and not lease.alive:
            self._lost_at = lease.last_refreshed
            ttl = f" (TTL {lease.ttl:g} s)"
        who = "the registration" if instance is None else f"{instance.service_name}/{instance.id} {instance.address}"
        return f"lost {who}{ttl}: {reason.removeprefix('its lease was lost: ')}"

    def _back(self, text: str) -> str:
        self._lease = self._registry.lease
        if self._lost_at is None:
            return text
        self._times += 1
        after = seconds(self._registry.store.clock.now() - self._lost_at)
        self._lost_at = None
        return f"{text} after {after}, {ordinal(self._times)} time since the start"


@contextlib.contextmanager
def registered(
    options: Settings, instance: Instance, *, heartbeat: float, wait: float, inbox: SignalInbox, report: Reporter
) -> Iterator[Registry]:
    """Register an instance for the ``with`` block, and deregister it at the end, within :data:`GOODBYE` seconds.

    Raises the errors of registering; ``Unavailable`` after ``wait`` seconds of attempts, or those of the URL's option
    ``wait_for_store`` if that is longer.
    """
    with opened(options, heartbeat=heartbeat, wait=wait, inbox=inbox, report=report) as (registry, left):
        made = retrying(lambda: registry.register(instance, wait=left()), left, inbox, report)
        _say_registered(registry, made, report)
        registry.add_status_handler(StatusReporter(registry, report))
        yield registry


@contextlib.contextmanager
def registered_when_healthy(
    options: Settings,
    instance: Instance,
    health: HealthCheck,
    *,
    heartbeat: float,
    wait: float,
    inbox: SignalInbox,
    report: Reporter,
) -> Iterator[tuple[Registry, Joining]]:
    """Register an instance beside the ``with`` block, as soon as its probes succeed; otherwise as :func:`registered`.

    The store has answered when the block begins.
    """
    arguments: Any = {"heartbeat": heartbeat, "wait": wait, "inbox": inbox, "report": report}
    with opened(options, health=health, **arguments) as (registry, _left):
        registry.add_status_handler(StatusReporter(registry, report))
        yield registry, Joining(registry, instance, wait, inbox, report)


class Joining:
    """A registration that another thread makes, while the main thread takes signals. ``error`` ended it for good."""

    def __init__(
        self, registry: Registry, instance: Instance, wait: float, inbox: SignalInbox, report: Reporter
    ) -> None:
        self.error: TenureError | None = None
        self._registry = registry
        self._instance = instance
        self._wait = wait
        self._inbox = inbox
        self._report = report

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="tenure-join", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(first=0.2, longest=_LONGEST_PAUSE)
        while True:
            try:
                made = self._registry.register(self._instance, wait=self._wait)
            except StoreClosed:
                return
            except (Unavailable, OutcomeUnknown) as exc:
                self._report.say("waiting", f"healthy, and waiting for the store: {exc}")
                time.sleep(backoff.delay())
            except TenureError as exc:
                self.error = exc
                self._inbox.wake()
                return
            else:
                _say_registered(self._registry, made, self._report)
                return


def _say_registered(registry: Registry, made: Instance, report: Reporter) -> None:
    report.say(
        "registered",
        f"registered {made.identity()} at {made.address}, {registry.store.url}",
        instance=made.to_dict(),
    )


@contextlib.contextmanager
def opened(
    options: Settings,
    *,
    heartbeat: float,
    wait: float,
    inbox: SignalInbox,
    report: Reporter,
    health: HealthCheck | None = None,
) -> Iterator[tuple[Registry, Callable[[], float]]]:
    """Open the store and the registry, and yield it with the seconds that are left of ``wait``."""
    from tenure.registry import Registry, RegistryConfig

    config = RegistryConfig(options.name, heartbeat=heartbeat, max_retry=None, health=health)
    opening = options.prepare()
    deadline = monotonic() + max(wait, opening.wait)

    def left() -> float:
        return max(0.0, deadline - monotonic())

    store = retrying(opening.once, left, inbox, report)
    end: Deadline | None = None
    try:
        registry = retrying(lambda: Registry(store, config).start(), left, inbox, report)
        try:
            yield registry, left
        finally:
            end = Deadline(min(GOODBYE, store.timeout))
            _deregister(registry, heartbeat, end, report)
            registry.close(timeout=end.remaining())
    finally:
        store.close(timeout=None if end is None else end.remaining())


def _deregister(registry: Registry, heartbeat: float, deadline: Deadline, report: Reporter) -> None:
    """Deregister what is registered, and report what the store has confirmed."""
    last = registry.current()
    if last is None:
        return
    who, named = last.identity(), last.to_dict()
    try:
        registry.deregister(timeout=deadline.remaining() * _FOR_DEREGISTERING)
    except TenureError as exc:
        report.say(
            "not-confirmed",
            f"could not confirm that {who} is deregistered: {exc}; at the latest it is gone when its lease expires "
            f"({heartbeat:g} s)",
            instance=named,
            error=str(exc),
            always=True,
        )
    else:
        report.say("deregistered", f"deregistered {who}", instance=named)


def retrying(call: Callable[[], T], left: Callable[[], float], inbox: SignalInbox, report: Reporter) -> T:
    """Call until it works, no time is ``left`` or it fails for another reason than a store that is down."""
    backoff = Backoff(first=0.2, longest=_LONGEST_PAUSE)
    while True:
        inbox.pause(0)
        try:
            return call()
        except Unavailable as exc:
            seconds = left()
            if not seconds:
                raise
            report.say("waiting", f"waiting for the store, {seconds:.0f} s more: {exc}")
            inbox.pause(min(backoff.delay(), seconds))
