"""``tenure conformance compare``, ``claim`` and ``claims``: what is done with saved reports once they are verified."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column
from tenure.errors import ConfigError

FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
SAVED = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Compare two reports rule by rule.")
@click.argument("first", type=SAVED, metavar="A.json")
@click.argument("second", type=SAVED, metavar="B.json")
@click.option("--unverified", is_flag=True, help="Accept reports that are not valid, too.")
@common(url=False)
@settings
@click.pass_context
def compare(ctx: click.Context, options: Settings, *, first: Path, second: Path, unverified: bool) -> None:
    """Compare two reports rule by rule: of two versions of a server, two plugins, or the same one on two days.

    The command verifies both reports first, and refuses one that isn't valid. It lists the rules with another verdict,
    and what else differs: versions, controls, capabilities.

    Exit code 0: no rule is worse in B than in A; 1: at least one is; 2: a report isn't valid.
    """
    from tenure.conformance.report.compare import compare as compare_reports

    found = compare_reports(read_verified(first, unverified=unverified), read_verified(second, unverified=unverified))
    out = options.output
    records = [dataclasses.asdict(each) for each in found.differences]
    if out.json:
        settings_of_both = [{"name": name, "first": a, "second": b} for name, a, b in found.settings]
        out.document(
            {"worse": found.worse, "same": found.same, "differences": records, "other_differences": settings_of_both}
        )
    else:
        out.listing(records, _DIFFERENCES, empty="no rule has another verdict")
        out.pairs([(name, f"{a} -> {b}") for name, a, b in found.settings])
        out.pairs([("rules", f"{found.same} alike, {len(records)} not, {found.worse} worse in {second}")])
    ctx.exit(1 if found.worse else 0)


_DIFFERENCES = [
    Column("change", lambda r: r["change"]),
    Column("rule", lambda r: r["rule"], "bold", whole=True),
    Column("first", lambda r: r["first"].replace("_", " ")),
    Column("second", lambda r: r["second"].replace("_", " ")),
    Column("reason", lambda r: r["reason"]),
]


@click.command(short_help="Make a claim of conformance from a report.")
@click.argument("report", type=SAVED, metavar="REPORT.json")
@click.option("--contact", required=True, metavar="TEXT", help="Whom to ask about the run: an address that lasts.")
@click.option("--mode", required=True, metavar="TEXT", help="How the server was set up: members, durability, replicas.")
@click.option("--reproduce", required=True, metavar="COMMAND", help="The command that makes the same run again.")
@click.option("--output", "output_file", type=FILE, metavar="FILE", help="Write the claim here. Default: stdout.")
@click.option("--badge", "badge_file", type=FILE, metavar="FILE.svg", help="Draw the badge of the claim.")
def claim(
    *, report: Path, contact: str, mode: str, reproduce: str, output_file: Path | None, badge_file: Path | None
) -> None:
    """Make a claim from a report: its level, versions and numbers, the report's digest, and who answers for it.

    Publish the claim together with its report. Others verify both by: tenure conformance verify REPORT.json --claim
    CLAIM.json

    The level is core if the store is conformant by what clients can try. It is extended if the server was also killed
    and frozen and the network cut. Otherwise there is none.
    """
    from tenure.conformance.claims.badge import badge
    from tenure.conformance.claims.claim import claim as make
    from tenure.conformance.claims.claim import written

    made = make(read_verified(report, unverified=False), contact=contact, mode=mode, reproduce=reproduce)
    if badge_file is not None:
        badge_file.write_text(badge(made), encoding="utf-8")
    if output_file is None:
        click.echo(written(made), nl=False)
    else:
        output_file.write_text(written(made), encoding="utf-8")


@click.command(short_help="Make an index of claims.")
@click.argument("files", type=SAVED, metavar="CLAIM.json...", nargs=-1, required=True)
@click.option(
    "--into",
    "page",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    metavar="PAGE.md",
    help="Replace the text of a page between '<!-- claims -->' and '<!-- end of claims -->'.",
)
def claims(*, files: tuple[Path, ...], page: Path | None) -> None:
    """Make an index of claims: a table in Markdown, one line for each claim, and how to repeat each run."""
    from tenure.conformance.claims import index
    from tenure.conformance.claims.claim import parsed

    found = [parsed(path.read_bytes(), str(path)) for path in files]
    if page is None:
        click.echo(index.markdown(found), nl=False)
    else:
        page.write_text(index.into(page.read_text(encoding="utf-8"), found), encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Return the report in a file.

    Raises:
        ConfigError: the file has no JSON object.
    """
    try:
        document = json.loads(path.read_bytes())
    except ValueError as exc:
        raise ConfigError(f"reading {path}: it is no JSON: {exc}; give a file that --report wrote") from exc
    if not isinstance(document, dict):
        raise ConfigError(
            f"reading {path}: it is no report but a {type(document).__name__}; give a file that --report wrote"
        )
    return document


def read_verified(path: Path, *, unverified: bool) -> dict[str, Any]:
    """Return the report in a file that is valid, or also another one if ``unverified``.

    Raises:
        ConfigError: the file has no report, or one that isn't valid.
    """
    from tenure.conformance.report.verify import face_of, verify
    from tenure.conformance.runner import runner

    document = read(path)
    problems = verify(document, runner.all_rules(face_of(document))).problems
    if problems and (not unverified or problems[0].startswith("not a report")):
        hint = "" if unverified else "; pass --unverified to accept it"
        raise ConfigError(f"verifying {path}: {problems[0]}{hint}")
    return document
