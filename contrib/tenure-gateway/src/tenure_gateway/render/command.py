"""``tenure render``: the command's options. What they ask for is imported when it runs, so that help stays quick."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.cli.options import Settings, common, settings
from tenure.errors import ConfigError
from tenure_gateway.options import grace_option
from tenure_gateway.render.plan import DEFAULT_DEADLINE, DEFAULT_INTERVAL, Job, Plan, parse_mode, read_plan


@click.command(short_help="Keep files up to date from the registry.")
@click.argument("template", required=False, type=click.Path(path_type=Path))
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--templates", type=click.Path(path_type=Path), metavar="FILE", help="Several templates, from a TOML file."
)
@click.option("--exec", metavar="COMMAND", help="Run after OUT was replaced, such as 'nginx -s reload'.")
@click.option("--check", metavar="COMMAND", help="Has to accept the new file first; {} stands for its path.")
@click.option("--mode", metavar="OCTAL", help="Permissions of OUT. Default: as they are, 0644 for a new file.")
@click.option("--interval", type=float, metavar="SECONDS", help=f"At most one rendering in it. [{DEFAULT_INTERVAL:g}]")
@click.option("--deadline", type=float, metavar="SECONDS", help=f"Of each command. [{DEFAULT_DEADLINE:g}]")
@grace_option
@click.option("--once", is_flag=True, help="Render once and end; OUT may be - for stdout.")
@common(registry=True)
@settings
def render(
    options: Settings,
    *,
    template: Path | None,
    out: Path | None,
    templates: Path | None,
    exec: str | None,  # noqa: A002 - the name that variables and profiles have, too
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
        if template is not None or exec is not None or check is not None or mode is not None:
            raise click.UsageError(
                "--templates says what to render: give no TEMPLATE, --exec, --check or --mode beside it"
            )
        plan = read_plan(templates)
    elif template is None or out is None:
        raise click.UsageError("give TEMPLATE and OUT, or --templates FILE")
    else:
        plan = Plan((Job(template, out, check, exec, None if mode is None else parse_mode(mode)),))
    plan = Plan(
        plan.jobs,
        plan.interval if interval is None else interval,
        plan.deadline if deadline is None else deadline,
    )
    _check(plan, once=once)
    from tenure_gateway.render.loop import run

    if not run(options, plan, grace=grace, once=once):
        click.get_current_context().exit(1)


def _check(plan: Plan, *, once: bool) -> None:
    for job in plan.jobs:
        if job.check is not None and "{}" not in job.check:
            raise ConfigError(f"rendering {job.out}: the check {job.check!r} lacks {{}}, the path of the new file")
        if str(job.out) == "-" and (not once or job.command or job.check):
            raise ConfigError("rendering to stdout: - goes with --once, and without --exec and --check")
