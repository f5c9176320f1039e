"""``tenure conformance``: run the suite on a store, and verify and compare the reports of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tenure.cli import completion
from tenure.cli.commands.conformance_options import ControlOptions, control_options
from tenure.cli.commands.conformance_reports import FILE as _FILE
from tenure.cli.commands.conformance_reports import SAVED, claim, claims, compare, read, read_verified
from tenure.cli.groups import Group
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui import errors
from tenure.cli.ui.output import Column
from tenure.errors import ConfigError, TenureError

_AREA = "Only rules of this area; may be repeated."
_RULE = "Only this rule, or those like 'kv.*'; may be repeated."


class _Group(Group):
    """``conformance URL`` is short for ``conformance run URL``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group, short_help="Check that a store keeps its guarantees.", no_args_is_help=True)
def conformance() -> None:
    """Run every rule of the suite on a store, and conclude whether it keeps its guarantees.

    \b
    tenure conformance URL                        short for: tenure conformance run URL
    tenure conformance run --help                 all options
    tenure conformance rules                      what is checked
    tenure conformance verify report.json         verify a saved report
    tenure conformance compare A.json B.json      what differs, rule by rule
    tenure conformance matrix *.json              several stores side by side
    tenure conformance claim report.json ...      make a claim and its badge to publish
    tenure conformance claims *.claim.json        an index of claims

    Exit code 0: every selected rule is kept; 1: a guarantee is broken; 2: inconclusive; 130: interrupted.
    """


@conformance.command(short_help="Run the rules on a store (the default).")
@click.argument("store", metavar="URL", required=False)
@click.option(
    "--area",
    "areas",
    multiple=True,
    metavar="AREA",
    shell_complete=completion.areas,
    help="Only rules of this area; may be repeated.",
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="RULE",
    shell_complete=completion.rules,
    help="Only this rule, or those like 'kv.*'; may be repeated.",
)
@click.option(
    "--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True, help="How much to try."
)
@click.option("--seed", type=int, metavar="N", help="Seed of every random choice. Default: always the same.")
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the whole run.")
@click.option("--rule-budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each rule.")
@click.option(
    "--report", "report_file", type=_FILE, metavar="FILE", help="Write the report as JSON, to verify it later."
)
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write the report as a web page.")
@click.option(
    "--face",
    type=click.Choice(["sync", "aio"]),
    default="sync",
    show_default=True,
    help="Through which interface: the synchronous one, or asyncio.",
)
@click.option("--no-network", is_flag=True, help="Run no proxy between client and server; skip the rules that need it.")
@control_options
@common(profile=False)
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
    report_file: Path | None,
    html_file: Path | None,
    face: str,
    no_network: bool,
    controls: ControlOptions,
) -> None:
    """Run the conformance suite on the store at URL (default: --url).

    It works in namespaces of its own with random names, touches no other data, and removes what it wrote.

    Exit code 0: conformant; if only some rules were selected, those are kept. 1: not conformant. 2: the run is
    inconclusive, time ran out, or the store can't be opened. 130: interrupted.
    """
    import dataclasses

    from tenure.cli.process.sigterm import terminable
    from tenure.cli.ui.conformance import show, shown
    from tenure.conformance.harness import profile as profiles
    from tenure.conformance.harness import verdicts
    from tenure.conformance.report import document as reports
    from tenure.conformance.runner import runner

    for path in (report_file, html_file):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"writing {path}: no such folder: {path.parent}; create it first")
    url = options.url if store is None else store
    if url is None:
        raise click.UsageError("no store given; give its URL as an argument, by --url or in TENURE_URL")
    chosen = profiles.FULL if profile == "full" else profiles.QUICK
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    try:
        with terminable(), shown(options.output) as progress:
            found = runner.run(
                runner.Plan(
                    url=url,
                    controls=controls.server_controls(url),
                    profile=chosen,
                    areas=areas,
                    rules=rules,
                    budget=budget,
                    rule_budget=rule_budget,
                    timeout=options.timeout,
                    between=not no_network,
                    face=face,
                ),
                progress,
            )
    except TenureError as exc:
        errors.report(exc, as_json=options.json)
        ctx.exit(errors.USAGE)
    document = reports.document(found)
    _write(document, report_file, html_file)
    if options.json:
        options.output.document(document)
    else:
        show(options.output, found)
    ctx.exit(errors.INTERRUPTED if found.interrupted else verdicts.EXIT_CODES[found.conclusion])


def _write(document: dict[str, Any], report: Path | None, page: Path | None) -> None:
    if report is not None:
        from tenure.conformance.report.document import written

        report.write_text(written(document), encoding="utf-8")
    if page is not None:
        from tenure.conformance.report.page import page as draw

        page.write_text(draw(document), encoding="utf-8")


@conformance.command(short_help="Verify a saved report.")
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT.json")
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write the report as a web page, if it is valid.")
@click.option(
    "--claim", "claim_file", type=SAVED, metavar="CLAIM.json", help="Check that this is a claim of the report."
)
@common(url=False)
@settings
@click.pass_context
def verify(
    ctx: click.Context, options: Settings, *, report: Path, html_file: Path | None, claim_file: Path | None
) -> None:
    """Verify a saved report: its histories by the checkers, its conclusion by its verdicts, and its digest.

    The digest detects damage and edits by hand. The author of a forged report can compute a new digest, but also has
    to forge histories that pass the checkers.

    Exit code 0: the report is valid, and says conformant or partial. 1: it is valid, and says not conformant. 2: it
    is not valid, or says inconclusive or unknown.
    """
    from tenure.cli.ui.conformance import show_verified
    from tenure.conformance.report.verify import face_of
    from tenure.conformance.report.verify import verify as verify_report
    from tenure.conformance.runner import runner

    document = read(report)
    found = verify_report(document, runner.all_rules(face_of(document)))
    if claim_file is not None and not found.problems:
        from tenure.conformance.claims.claim import differences, parsed

        found.problems += differences(parsed(claim_file.read_bytes(), str(claim_file)), document)
    show_verified(options.output, str(report), found)
    if html_file is not None and not found.problems:
        _write(document, None, html_file)
    ctx.exit(found.exit_code)


@conformance.command("rules", short_help="List the rules: guarantee and requirements of each.")
@click.option(
    "--area",
    "areas",
    multiple=True,
    metavar="AREA",
    shell_complete=completion.areas,
    help="Only rules of this area; may be repeated.",
)
@click.option("--face", type=click.Choice(["sync", "aio"]), default="sync", show_default=True, help="Whose rules.")
@click.option(
    "--level", type=click.Choice(["core", "extended"]), help="Only the rules that a claim of this level rests on."
)
@common(url=False)
@settings
def list_rules(options: Settings, *, areas: tuple[str, ...], face: str, level: str | None) -> None:
    """List the rules of the suite: id, guarantee, and the capabilities and controls that each requires.

    Level core has the rules that clients alone can try. Extended adds those that kill and freeze the server or cut the
    network.
    """
    from tenure.conformance.claims.level import Level, level_of_rule
    from tenure.conformance.report.document import described
    from tenure.conformance.runner import runner

    wanted = {None: set(Level), "core": {Level.CORE}, "extended": {Level.CORE, Level.EXTENDED}}[level]
    rules = [rule for rule in runner.select(runner.all_rules(face), areas, ()) if level_of_rule(rule) in wanted]
    options.output.listing(
        [described(rule) for rule in rules],
        [
            Column("rule", lambda r: r["id"], "bold", whole=True),
            Column("capabilities", lambda r: " ".join(r["required_capabilities"])),
            Column("controls", lambda r: " ".join(r["required_controls"])),
            Column("guarantee", lambda r: r["guarantee"]),
        ],
        empty="no rules",
    )


@conformance.command(short_help="Compare the reports of several stores.")
@click.argument(
    "reports", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT.json...", nargs=-1
)
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write a page instead of Markdown to stdout.")
@click.option(
    "--into",
    "page",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    metavar="PAGE.md",
    help="Replace the text of a page between '<!-- matrix -->' and '<!-- end of matrix -->'.",
)
@click.option("--unverified", is_flag=True, help="Accept reports that are not valid, too.")
def matrix(*, reports: tuple[Path, ...], html_file: Path | None, page: Path | None, unverified: bool) -> None:
    """Compare the reports of several stores: a row for each area of the suite, a column for each store.

    The command verifies each report first, and refuses one that isn't valid. Into a page (--into) it also writes why
    rules weren't executed, and each rule.
    """
    from tenure.conformance.report import matrix as tables

    documents = [read_verified(path, unverified=unverified) for path in reports]
    if not documents:
        raise click.UsageError("no report given; give the files that --report wrote")
    if page is not None:
        page.write_text(tables.into(page.read_text(encoding="utf-8"), documents), encoding="utf-8")
    if html_file is None and page is None:
        click.echo(tables.markdown(documents), nl=False)
    elif html_file is not None:
        html_file.write_text(tables.html(documents), encoding="utf-8")


for _command in (compare, claim, claims):
    conformance.add_command(_command)
