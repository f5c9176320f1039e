"""``tenure doctor``: opens a store, tries it, and tells what it promises and what weakens that."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import asdict

import click

from tenure._failed import Failed
from tenure._plugins import discovery, url
from tenure._text import seconds, size, visible
from tenure.cli.diagnosis import Checkup, Verdict, examine
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column, Output
from tenure.spi.capabilities import Guarantee, Limit, field_notes

_MARKS = {Verdict.OK: ("ok", "green"), Verdict.WARNING: ("warning", "yellow"), Verdict.FAILED: ("FAILED", "bold red")}


@click.command(short_help="Try a store, and tell what it promises and risks.")
@click.argument("store", metavar="[URL]", required=False)
@click.option("--strict", is_flag=True, help="Warnings count as failures.")
@click.option("--read-only", is_flag=True, help="Write nothing: no latency of puts, no lease is tried.")
@click.option("--samples", type=click.IntRange(1, 1000), default=20, show_default=True, help="Gets and puts to time.")
@common()
@settings
def doctor(options: Settings, *, store: str | None, strict: bool, read_only: bool, samples: int) -> None:
    """Look at the store at URL (default: --url) as an application would find it.

    Times a few puts and gets of keys below "tenure-doctor-" in the URL's namespace; they hang on a lease and are
    removed, by the lease if need be.

    Exit code 0: healthy, perhaps with warnings; 1: something failed (with --strict: or was warned of);
    2: the URL or the credentials are wrong; 3: can't be reached.
    """
    out = options.output
    opened = examine(lambda: options.connect(store), samples=samples, read_only=read_only, progress=_progress(out))
    _show(out, opened)
    bad = [check for check in opened.checks if check.verdict is Verdict.FAILED]
    if strict:
        bad += [check for check in opened.checks if check.verdict is Verdict.WARNING]
    if bad:
        raise Failed(f"{opened.url}: {'; '.join(check.text for check in bad)}")


def _progress(out: Output) -> AbstractContextManager[object]:
    """Nothing is printed while the store is examined, except on a terminal, where slowness should have a face."""
    if not out.terminal:
        return contextlib.nullcontext()
    return out.console.status("looking at the store")


def _show(out: Output, found: Checkup) -> None:
    scheme = url.split(found.url).scheme
    worth_knowing = discovery.find(scheme).caveats
    if out.json:
        out.document(found.as_record() | {"notes": [asdict(note) for note in worth_knowing]})
        return
    out.pairs(_facts(found))
    out.heading("Checks")
    for check in found.checks:
        word, style = _MARKS[check.verdict]
        out.line((f"{word:<8}", style), (f" {check.name:<8} ", "dim"), (check.text, ""))
    out.heading("Promises: this store ...")
    notes = field_notes()
    for name, value in found.capabilities.items():
        note = notes[name]
        if isinstance(note, Guarantee):
            out.line((f"{'yes' if value else 'NO':<8}", "green" if value else "yellow"), (f" {note.text}", ""))
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
    if worth_knowing:
        out.heading("Worth knowing")
        titles = "; ".join(note.title for note in worth_knowing)
        out.line((titles, ""), (f" (tenure backends {scheme} tells more)", "dim"))


def _facts(found: Checkup) -> list[tuple[str, str]]:
    server = found.server
    return [
        ("store", found.url),
        ("server", f"{server.product} {server.version}"),
        ("revision", str(server.revision)),
        ("connected in", seconds(found.connect_seconds)),
        *((visible(name), visible(value)) for name, value in server.details.items()),
    ]


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return size(int(value))
    if unit == "seconds" and value >= 86_400:
        return f"{value / 86_400:,.0f} days"
    return f"{value:g} s" if unit == "seconds" else f"{value:g}"
