"""``tenure agent``: watch a store once, and serve what it has to the programs of this host."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenure._failed import Failed
from tenure._text import plural, seconds
from tenure.agent.plugin import DEFAULT_SOCKET
from tenure.cli.completion import service_names
from tenure.cli.groups import Group
from tenure.cli.options import Settings, common, settings
from tenure.cli.process.registration import Reporter
from tenure.cli.process.signals import ENDING, SignalInbox

if TYPE_CHECKING:
    from tenure.agent import AgentSettings, AgentStatus

_GOODBYE = 8.0
"""Seconds for the end: service managers kill some seconds after they ask."""

_socket = click.option(
    "--socket",
    "path",
    type=click.Path(dir_okay=False),
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's Unix socket.",
)


def _parse_mode(ctx: click.Context, param: click.Parameter, value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise click.BadParameter(f"{value!r} is no mode such as 0600 or 0660", ctx, param)
    return int(value, 8)


@click.group(cls=Group, invoke_without_command=True, short_help="Watch a store once for all programs of this host.")
@_socket
@click.option(
    "--mode",
    default="0600",
    show_default=True,
    metavar="MODE",
    callback=_parse_mode,
    help="Permissions of the socket: who may write it may connect. 0660 lets the agent's group connect, too.",
)
@click.option(
    "--warm-file",
    type=click.Path(dir_okay=False),
    help="Keep what is known in this file, for a start while the store is away.",
)
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="NAME",
    shell_complete=service_names,
    help="Watch and serve this service; may be given again. Default: all services of the registry.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(min=4),
    default=4096,
    show_default=True,
    help="Connections of programs at once.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing on stderr unless something fails.")
@common(registry=True)
@settings
@click.pass_context
def agent(
    context: click.Context,
    options: Settings,
    *,
    path: str,
    mode: int,
    warm_file: str | None,
    services: tuple[str, ...],
    max_connections: int,
    quiet: bool,
) -> None:
    """Watch the registry of a store once, and serve it to the programs of this host until this command ends.

    \b
    tenure agent --url etcd://etcd.example.com --socket /run/tenure/agent.sock
    tenure agent status                what it serves, and how old that is

    Programs connect to agent+unix:///run/tenure/agent.sock?store=URL. Their lists and watches come from the agent.
    Writes, and reads of one key, go straight to the store of the option "store".

    While the store is away, the agent continues to serve what it knew, and each program learns how old that is. Ctrl-C
    and SIGTERM end it (exit codes 130 and 143). With --json each message on stderr is one JSON object.
    """
    if context.invoked_subcommand is not None:
        return
    agent_settings = _settings(
        options, path=path, mode=mode, warm_file=warm_file, services=services, max_connections=max_connections
    )
    report = Reporter(json=options.json, quiet=quiet)
    with SignalInbox() as inbox:
        number = _serve(options, agent_settings, report, inbox)
    context.exit(128 + number)


def _settings(
    options: Settings,
    *,
    path: str,
    mode: int,
    warm_file: str | None,
    services: tuple[str, ...],
    max_connections: int,
) -> AgentSettings:
    from tenure.agent import AgentSettings, Limits
    from tenure.registry import RegistryConfig

    config = RegistryConfig(options.name, services=services or None, warm_file=warm_file)
    prefix = config.key_prefix
    names = dict.fromkeys(services)
    return AgentSettings(
        socket=os.path.abspath(path),
        prefixes=tuple(f"{prefix}{name}/" for name in names) if names else (prefix,),
        mode=mode,
        warm_file=warm_file,
        limits=Limits(connections=_possible(max_connections)),
    )


def _possible(connections: int) -> int:
    """Raise this process's limit of open files as far as is needed and allowed; return how many connections fit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = 128
    wanted = connections + others
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(raised, soft), hard))
        return max(4, min(connections, raised - others))
    return connections


def _serve(options: Settings, agent_settings: AgentSettings, report: Reporter, inbox: SignalInbox) -> int:
    """Serve until a signal asks to end, and return its number."""
    from tenure.agent import Agent

    def say(kind: str, text: str, facts: Mapping[str, Any]) -> None:
        report.say(kind, text, always=kind in ("away", "no-file"), **facts)

    running = Agent(options.prepare(), agent_settings, say)
    running.start()
    try:
        _tell_systemd("READY=1")
        while True:
            taken = inbox.take(None)
            if taken is not None and (taken.si_signo in ENDING or taken.si_signo == signal.SIGHUP):
                _tell_systemd("STOPPING=1")
                return taken.si_signo
    finally:
        running.close(timeout=_GOODBYE)
        report.say("ended", "ended")


def _tell_systemd(state: str) -> None:
    """Tell the service manager, if it wants to know (Type=notify)."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.sendto(state.encode(), path.replace("@", "\0", 1))
    except OSError:
        return


@agent.command()
@_socket
@click.option(
    "--max-age",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Fail (exit code 1) if what the agent serves is older. Default: it may be of any age.",
)
@common(url=False)
@settings
def status(options: Settings, path: str, max_age: float | None) -> None:
    """Show what the agent serves, how old that is, and to how many programs. Exit code 3 if none listens."""
    from tenure.agent import ask_status

    found = ask_status(os.path.abspath(path), timeout=options.timeout)
    _show(options, path, found)
    if max_age is not None and (found.age is None or found.age > max_age):
        raise Failed(f"{found.age_text}, and --max-age is {max_age:g} s: {found.outage or 'it has only just started'}")


def _show(options: Settings, path: str, found: AgentStatus) -> None:
    from dataclasses import asdict

    facts = [
        ("socket", path),
        ("process", found.pid),
        ("running for", seconds(found.running_for)),
        ("store", found.store),
        ("state", found.age_text),
        *([("outage", found.outage)] if found.outage else []),
        *(("serves", f"{each.prefix}: {plural(each.entries, 'entry')}") for each in found.serves),
        ("programs", f"{found.programs} with {plural(found.watches, 'watch')}"),
        *([("warm file", Path(found.warm_file))] if found.warm_file else []),
    ]
    options.output.facts({"socket": path, **asdict(found)}, facts)
