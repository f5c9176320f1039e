"""``leasehold conformance``: runs the suite on a store, and looks after the reports that come of it."""

from __future__ import annotations

import click

from leasehold.cli import errors
from leasehold.cli.conformance_driver import Controls, driver_options
from leasehold.cli.options import Settings, common, settings
from leasehold.errors import LeaseholdError


class _Group(click.Group):
    """``conformance URL`` is short for ``conformance run URL``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, short_help="Prove that a store keeps every promise.", no_args_is_help=True)
def conformance() -> None:
    """Prove a store: run every rule of the suite on it, and conclude whether it keeps what it promises.

    \b
    leasehold conformance URL                        short for: leasehold conformance run URL
    leasehold conformance run --help                 all options
    """


@conformance.command(short_help="Run the rules on a store (the default).")
@click.argument("store", metavar="URL", required=False)
@click.option("--area", "areas", multiple=True, metavar="AREA", help="Only rules of this area; may be repeated.")
@click.option(
    "--rule", "rules", multiple=True, metavar="RULE", help="Only this rule, or those like 'kv.*'; may be repeated."
)
@click.option(
    "--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True, help="How much to try."
)
@click.option("--seed", type=int, metavar="N", help="What everything random comes from. Default: always the same.")
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the whole run.")
@click.option("--rule-budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each rule.")
@driver_options
@common()
@settings
@click.pass_context
def run(
    ctx: click.Context,
    options: Settings,
    *,
    store: str | None,
    areas: tuple[str, ...],
    rules: tuple[str, ...],
    profile: str,
    seed: int | None,
    budget: float | None,
    rule_budget: float | None,
    controls: Controls,
) -> None:
    """Run the conformance suite on the store at URL (default: --url).

    It works in namespaces of its own with random names, touches nothing else, and removes what it wrote.

    Exit code 0: conformant (or, where only a part was asked for, all of that is kept); 1: not conformant;
    2: nothing is known, because the run was invalid, time ran out, or the store can't be opened.
    """
    import dataclasses

    from leasehold.cli.conformance_show import show, shown
    from leasehold.cli.signals_as_interrupt import terminable
    from leasehold.conformance import profile as profiles
    from leasehold.conformance import runner, verdicts

    url = options.url if store is None else store
    if url is None:
        raise click.UsageError("which store? Give its URL, as an argument, by --url or in LEASEHOLD_URL")
    chosen = profiles.FULL if profile == "full" else profiles.QUICK
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    try:
        with terminable(), shown(options.output) as progress:
            found = runner.run(
                runner.Plan(
                    url=url,
                    driver=controls.driver(url),
                    profile=chosen,
                    areas=areas,
                    rules=rules,
                    budget=budget,
                    rule_budget=rule_budget,
                    timeout=options.timeout,
                ),
                progress,
            )
    except LeaseholdError as exc:
        errors.report(exc, as_json=options.json)
        ctx.exit(errors.USAGE)
    show(options.output, found)
    ctx.exit(errors.INTERRUPTED if found.interrupted else verdicts.EXIT_CODES[found.conclusion])
