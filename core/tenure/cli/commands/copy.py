"""``tenure copy``: copy a namespace to another store, and compare both."""

from __future__ import annotations

from typing import Any

import click

from tenure._text import plural, size
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Output
from tenure.cli.ui.progress import progress
from tenure.errors import LimitExceeded, TenureError
from tenure.migration.copier import Copier, Counts, Survey

_SHOWN = 5


@click.command(short_help="Copy a namespace from one store to another.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option("--dry-run", is_flag=True, help="Read both sides, write nothing.")
@click.option("--merge", is_flag=True, help="TO may have keys: keys that FROM also has are replaced, others stay.")
@click.option("--include-leased", is_flag=True, help="Copy keys that hang on a lease too; in TO they stay for good.")
@common(url=False)
@settings
def copy(options: Settings, *, source: str, target: str, dry_run: bool, merge: bool, include_leased: bool) -> None:
    """Copy the namespace of the URL FROM into the namespace of the URL TO, another store or the same.

    FROM isn't changed. Leases and their keys are not copied: they belong to a running process. Before it writes, the
    command reports values too large for TO, and checks that TO is empty (unless --merge).

    You can interrupt the copy: a key "leasehold-copy" in TO marks it. The same command continues it, and removes that
    key when both sides are equal. TO gives keys revisions of its own.
    """
    out = options.output
    with options.connect(source) as origin, options.connect(target) as destination:
        copier = Copier(origin, destination, merge=merge, include_leased=include_leased)
        survey = copier.survey()
        _check_sizes(survey)
        if dry_run:
            _show_dry_run(out, survey)
            return
        with progress(out, "copying", survey.keys) as advance:
            try:
                counts = copier.run(advance)
            except KeyboardInterrupt:
                out.note("interrupted: run the same command again to continue")
                raise
            except TenureError:
                if copier.begun:
                    out.note("not finished: run the same command again to continue")
                raise
    _show_done(out, origin.url, destination.url, survey, counts)


def _check_sizes(survey: Survey) -> None:
    if survey.too_large:
        names = ", ".join(f"{key!r} ({size(count)})" for key, count in survey.too_large[:_SHOWN])
        more = f" and {len(survey.too_large) - _SHOWN} more" if len(survey.too_large) > _SHOWN else ""
        raise LimitExceeded(
            f"{plural(len(survey.too_large), 'value')} can't go into the target, which takes "
            f"{size(survey.largest_value)} at most: {names}{more}; nothing was written"
        )


def _counts(survey: Survey) -> dict[str, Any]:
    return {
        "keys": survey.keys,
        "bytes": survey.bytes,
        "skipped_leased": survey.skipped_leased,
        "resumed": survey.resumed,
        "in_target_before": survey.target_keys,
    }


def _show_dry_run(out: Output, survey: Survey) -> None:
    out.done(
        {"dry_run": True, **_counts(survey)},
        ("would copy ", "dim"),
        (plural(survey.keys, "key"), "bold"),
        (f", {size(survey.bytes)}{_skipped(survey)}; nothing was written", ""),
    )


def _show_done(out: Output, source: str, target: str, survey: Survey, counts: Counts) -> None:
    out.done(
        {
            "from": source,
            "to": target,
            **_counts(survey),
            "written": counts.written,
            "compared": counts.compared,
            "verified": True,
        },
        ("copied ", "dim"),
        (plural(counts.compared, "key"), "bold"),
        (f", {size(survey.bytes)}, {counts.written} written{_skipped(survey)}; both sides compared: ", ""),
        ("equal", "bold green"),
    )


def _skipped(survey: Survey) -> str:
    return f"; {plural(survey.skipped_leased, 'key')} with a lease left behind" if survey.skipped_leased else ""
