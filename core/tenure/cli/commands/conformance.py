"""``tenure conformance``: runs the suite on a store, and looks after the reports that come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from tenure.cli.commands.conformance_options import Controls, driver_options
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui import errors
from tenure.cli.ui.output import Column
from tenure.errors import ConfigError, TenureError

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


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
    tenure conformance URL                        short for: tenure conformance run URL
    tenure conformance run --help                 all options
    tenure conformance rules                      what is checked
    tenure conformance verify report.json         judge a saved report again
    tenure conformance matrix *.json              several stores side by side

    Exit code 0: all that was asked for is kept; 1: a promise is broken; 2: nothing is known; 130: interrupted.
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
@click.option(
    "--report", "report_file", type=_FILE, metavar="FILE", help="Write the report as JSON, to be verified later."
)
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write the report as a page to look at.")
@click.option("--no-network", is_flag=True, help="Don't stand between client and server; those rules aren't run.")
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
    report_file: Path | None,
    html_file: Path | None,
    no_network: bool,
    controls: Controls,
) -> None:
    """Run the conformance suite on the store at URL (default: --url).

    It works in namespaces of its own with random names, touches nothing else, and removes what it wrote.

    Exit code 0: conformant (or, where only a part was asked for, all of that is kept); 1: not conformant;
    2: nothing is known, because the run was invalid, time ran out, or the store can't be opened; 130: interrupted.
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
            raise ConfigError(f"{path} can't be written: there is no folder {path.parent}")
    url = options.url if store is None else store
    if url is None:
        raise click.UsageError("which store? Give its URL, as an argument, by --url or in TENURE_URL")
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
                    between=not no_network,
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


@conformance.command(short_help="Judge a saved report again.")
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT.json")
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write the report as a page, if it holds.")
@common(url=False)
@settings
@click.pass_context
def verify(ctx: click.Context, options: Settings, *, report: Path, html_file: Path | None) -> None:
    """Judge a saved report again: the saved histories by the judges, the conclusion by the verdicts, and the seal.

    The seal finds damage and edits by hand; whoever makes up a report on purpose could seal it again, but has to make
    up histories in which the judges find nothing wrong.

    Exit code 0: the report holds, and says conformant or kept in part; 1: it holds, and says not conformant;
    2: it doesn't hold, or says invalid or unknown.
    """
    from tenure.cli.ui.conformance import show_verified
    from tenure.conformance.report.verify import verify as judge
    from tenure.conformance.runner import runner

    document = _read(report)
    found = judge(document, runner.all_rules())
    show_verified(options.output, str(report), found)
    if html_file is not None and not found.problems:
        _write(document, None, html_file)
    ctx.exit(found.exit_code)


@conformance.command("rules", short_help="List the rules, what each promises and needs.")
@click.option("--area", "areas", multiple=True, metavar="AREA", help="Only rules of this area; may be repeated.")
@common(url=False)
@settings
def list_rules(options: Settings, *, areas: tuple[str, ...]) -> None:
    """List the rules of the suite: id, promise, and what a store has to declare or a driver to offer for each."""
    from tenure.conformance.report.document import described
    from tenure.conformance.runner import runner

    options.output.listing(
        [described(rule) for rule in runner.select(runner.all_rules(), areas, ())],
        [
            Column("rule", lambda r: r["id"], "bold"),
            Column("if declared", lambda r: " ".join(r["requires"])),
            Column("driver", lambda r: " ".join(r["needs"])),
            Column("promise", lambda r: r["promise"]),
        ],
        empty="no rules",
    )


@conformance.command(short_help="Put several stores' reports side by side.")
@click.argument(
    "reports", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="REPORT.json...", nargs=-1
)
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write a page instead of Markdown to stdout.")
@click.option(
    "--into",
    "page",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    metavar="PAGE.md",
    help="Replace what a page has between '<!-- matrix -->' and '<!-- end of matrix -->'.",
)
@click.option("--unverified", is_flag=True, help="Take reports that don't hold, too.")
def matrix(*, reports: tuple[Path, ...], html_file: Path | None, page: Path | None, unverified: bool) -> None:
    """Put the reports of several stores side by side: a row for each area of the suite, a column for each store.

    Each report is verified first; one that doesn't hold is refused. Into a page (--into) it writes as well why rules
    weren't executed, and each rule.
    """
    from tenure.conformance.report import matrix as tables
    from tenure.conformance.report.verify import verify as judge
    from tenure.conformance.runner import runner

    documents = [_read(path) for path in reports]
    catalogue = runner.all_rules()
    for path, document in zip(reports, documents, strict=True):
        problems = judge(document, catalogue).problems
        if problems and not unverified:
            raise ConfigError(f"{path} doesn't hold: {problems[0]}")
    if not documents:
        raise click.UsageError("which reports? Give the files that --report wrote")
    if page is not None:
        page.write_text(tables.into(page.read_text(encoding="utf-8"), documents), encoding="utf-8")
    if html_file is None and page is None:
        click.echo(tables.markdown(documents), nl=False)
    elif html_file is not None:
        html_file.write_text(tables.html(documents), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as exc:
        raise ConfigError(f"{path} is no JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no report: it holds a {type(document).__name__}")
    return document
