"""``tenure doctor``: opens a store, tries it, and reports its guarantees, its limits and what weakens them."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import asdict

import click

from tenure._client.opening import prepare
from tenure._failed import Failed
from tenure._plugins import url
from tenure._text import seconds, size, visible
from tenure.cli.completion import key_names, store_urls
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column, Output
from tenure.diagnosis.checkup import DEFAULT_HEARTBEAT, Checkup, caveats_of, examine
from tenure.spi.capabilities import Guarantee, Limit, field_notes
from tenure.spi.diagnosis import Verdict

_MARKS = {Verdict.OK: ("ok", "green"), Verdict.WARNING: ("warning", "yellow"), Verdict.FAILED: ("failed", "bold red")}


@click.command(short_help="Try a store; show its guarantees, limits and risks.")
@click.argument("store", metavar="[URL]", required=False, shell_complete=store_urls)
@click.option("--strict", is_flag=True, help="Warnings count as failures.")
@click.option("--read-only", is_flag=True, help="Write nothing: no latency of puts, no lease is tried.")
@click.option("--samples", type=click.IntRange(1, 1000), default=20, show_default=True, help="Gets and puts to time.")
@click.option(
    "--heartbeat",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_HEARTBEAT,
    show_default=True,
    metavar="SECONDS",
    help="The shortest TTL that you use: of registrations, locks and leases.",
)
@click.option(
    "--prefix",
    metavar="TEXT",
    default="",
    shell_complete=key_names,
    help="Try keys that begin with TEXT, for a user who may only use such keys.",
)
@common()
@settings
def doctor(
    options: Settings,
    *,
    store: str | None,
    strict: bool,
    read_only: bool,
    samples: int,
    heartbeat: float,
    prefix: str,
) -> None:
    """Examine the store at URL (default: --url) as an application would find it.

    Times some puts and gets of keys that start with "tenure-doctor-" in the URL's namespace. The keys have a lease,
    so they are removed even if the command is killed.

    Each check ends as ok, warning or failed, with what to do. Each use of the store is tried alone, so a missing
    right is named with what it is for.

    Exit code 0: no check failed. 1: a check failed, or with --strict ended as warning. 2: the URL or the credentials
    are wrong. 3: the store can't be reached.
    """
    out = options.output
    opening = prepare(options.store_url if store is None else store, timeout=options.timeout)
    with _progress(out):
        found = examine(opening, samples=samples, read_only=read_only, heartbeat=heartbeat, prefix=prefix)
    _show(out, found)
    bad = found.of(Verdict.FAILED, *([Verdict.WARNING] if strict else []))
    if bad:
        raise Failed(f"{found.url}: {'; '.join(check.text for check in bad)}")


def _progress(out: Output) -> AbstractContextManager[object]:
    """Show that the examination runs, on a terminal only: a slow store may take seconds for each check."""
    if not out.terminal:
        return contextlib.nullcontext()
    return out.console.status("examining the store")


def _show(out: Output, found: Checkup) -> None:
    scheme = url.split(found.url).scheme
    caveats = caveats_of(found.url)
    if out.json:
        out.document(found.as_record() | {"caveats": [asdict(caveat) for caveat in caveats]})
        return
    out.pairs(_facts(found))
    out.heading("Checks")
    for check in found.checks:
        word, style = _MARKS[check.verdict]
        out.line((f"{word:<8}", style), (f" {check.name:<11} ", "dim"), (check.text, ""))
        if check.advice:
            out.line((" " * 21 + "-> ", "dim"), (check.advice, "bold"))
    notes = field_notes()
    out.heading("Guarantees")
    out.listing(
        [
            {"name": name, "value": "yes" if value else "no", "text": note.text}
            for name, value in found.capabilities.items()
            if isinstance(note := notes[name], Guarantee)
        ],
        [
            Column("guarantee", lambda r: r["name"]),
            Column("declared", lambda r: r["value"], "bold"),
            Column("the store ...", lambda r: r["text"], "dim"),
        ],
        empty="",
    )
    out.heading("Limits")
    out.listing(
        [
            {"name": name, "value": _amount(value, note.unit), "text": note.text}
            for name, value in found.capabilities.items()
            if isinstance(note := notes[name], Limit)
        ],
        [
            Column("limit", lambda r: r["name"]),
            Column("value", lambda r: r["value"], "bold", right=True),
            Column("what it bounds", lambda r: r["text"], "dim"),
        ],
        empty="",
    )
    if caveats:
        out.heading("Caveats")
        titles = "; ".join(caveat.title for caveat in caveats)
        # Not findings of this server: a reader of a pipe sees no heading.
        out.line((f"known limits of every {scheme} store: ", "dim"), (titles, ""))
        out.line((f"(details: tenure backends {scheme})", "dim"))


def _facts(found: Checkup) -> list[tuple[str, str]]:
    server = found.server
    checked = {check.name for check in found.checks}
    return [
        ("store", found.url),
        ("server", f"{server.product} {server.version}"),
        ("revision", str(server.revision)),
        ("connected in", seconds(found.connect_seconds)),
        # A check says more than a detail of the same name.
        *((visible(name), visible(value)) for name, value in server.details.items() if name not in checked),
    ]


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return size(int(value))
    if unit == "seconds" and value >= 86_400:
        return f"{value / 86_400:,.0f} days"
    return f"{value:g} s" if unit == "seconds" else f"{value:g}"
