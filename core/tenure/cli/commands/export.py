"""``tenure export`` and ``tenure import``: a namespace to a file, and back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from tenure._text import plural, size, visible
from tenure.cli.completion import key_names
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.progress import progress
from tenure.errors import ConfigError, LimitExceeded, TenureError

if TYPE_CHECKING:
    from tenure.migration.importer import ImportPlan

_SHOWN = 5
_STREAM = "-"


@click.command(short_help="Write a namespace to a file.")
@click.argument("file", type=click.Path(dir_okay=False), metavar="FILE")
@click.option("--prefix", metavar="TEXT", default="", shell_complete=key_names, help="Only keys that start with TEXT.")
@common()
@settings
def export(options: Settings, *, file: str, prefix: str) -> None:
    """Write the keys of the namespace to FILE ("-" for stdout), as lines of JSON.

    The first line has the format's version and the number of keys. Values that aren't text are kept as base64. Keys
    that hang on a lease are marked; the leases themselves aren't in the file. FILE appears whole or not at all, and
    only you can read it.
    """
    from tenure.migration.archive import export as write

    out = options.output
    with options.connect() as store, _written(file) as (target, spool), progress(out, "exporting", None) as advance:
        header = write(store, target, spool, prefix=prefix, advance=advance)
    if file == _STREAM:
        return
    leased = f", of which {header.leased:,} hang on a lease" if header.leased else ""
    moment = "" if header.one_point_in_time else "; keys changed meanwhile may be of different moments"
    out.done(
        {"file": file, **asdict(header)},
        ("exported ", "dim"),
        (plural(header.keys, "key"), "bold"),
        (f", {size(header.bytes)}{leased}, to {file}{moment}", ""),
    )


@contextlib.contextmanager
def _written(file: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """A file that takes its name when it is complete, and a temporary one beside it. Devices and pipes are written."""
    if file == _STREAM:
        with tempfile.TemporaryFile() as spool:
            yield sys.stdout.buffer, spool
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists() and not path.is_file():  # a device or a pipe, such as /dev/stdout: nothing may take its place
        with open(path, "wb") as stream, tempfile.TemporaryFile() as spool:
            yield stream, spool
        return
    try:
        with (
            tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as target,
            tempfile.TemporaryFile(dir=path.parent) as spool,
        ):
            try:
                yield target, spool
                target.flush()
                os.fsync(target.fileno())
                os.replace(target.name, path)
            except BaseException:
                os.unlink(target.name)
                raise
    except FileNotFoundError as exc:
        raise ConfigError(f"writing {file}: no such folder: {path.parent}; create it first") from exc


@click.command("import", short_help="Write a file of 'tenure export' into a namespace.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True), metavar="FILE")
@click.option("--merge", is_flag=True, help="The namespace may have keys; those that FILE has too are replaced.")
@click.option("--include-leased", is_flag=True, help="Write keys that hung on a lease too; they stay for good.")
@click.option("--dry-run", is_flag=True, help="Check the file and the store, write nothing.")
@common()
@settings
def import_(options: Settings, *, file: str, merge: bool, include_leased: bool, dry_run: bool) -> None:
    """Write the keys of FILE ("-" for stdin) into the namespace.

    All of FILE is checked first. If the store has room for all keys in one transaction, they appear together or not at
    all. Otherwise they are written in parts, and a failure says exactly what was done; the same command with --merge
    continues. What another client writes meanwhile is never replaced: the import stops there.
    """
    from tenure.migration.archive import Archive
    from tenure.migration.importer import Importer, told

    out = options.output
    with _read(file) as source, options.connect() as store:
        importer = Importer(store, Archive(source, file), merge=merge, include_leased=include_leased)
        plan = importer.plan()
        _check_sizes(plan)
        if dry_run:
            how = "in one transaction" if plan.whole else "in parts"
            out.done(
                {"dry_run": True, **_counts(plan)},
                ("would import ", "dim"),
                (plural(plan.keys, "key"), "bold"),
                (f", {size(plan.bytes)}, {how}{_skipped(plan)}; nothing was written", ""),
            )
            return
        try:
            with progress(out, "importing", plan.keys) as advance:
                done = importer.run(plan, advance)
        except (TenureError, KeyboardInterrupt):
            again = (
                " Give the same command with --merge to continue." if importer.progress.last or not plan.whole else ""
            )
            out.note(f"tenure: {visible(told(importer.progress, plan))}.{again}")
            raise
        if not plan.keys and plan.skipped_leased and not out.json:
            all_of_them = (
                "the only key belongs to a lease"
                if plan.skipped_leased == 1
                else (f"all {plan.skipped_leased:,} keys belong to leases")
            )
            out.line(("nothing to restore: ", "bold"), (f"{all_of_them}, and their owners write them again", ""))
            return
        out.done(
            {**_counts(plan), "written": done.written, "equal": done.equal},
            ("imported ", "dim"),
            (plural(plan.keys, "key"), "bold"),
            (f", {size(plan.bytes)}, {done.written:,} written{_skipped(plan)}", ""),
        )


@contextlib.contextmanager
def _read(file: str) -> Iterator[IO[bytes]]:
    """The file; what comes from stdin goes into a temporary one, since it is read more than once."""
    if file != _STREAM:
        with open(file, "rb") as source:
            yield source
        return
    with tempfile.TemporaryFile() as source:
        shutil.copyfileobj(sys.stdin.buffer, source)
        source.seek(0)
        yield source


def _check_sizes(plan: ImportPlan) -> None:
    if plan.too_large:
        names = ", ".join(f"{key!r} ({size(count)})" for key, count in plan.too_large[:_SHOWN])
        more = f" and {len(plan.too_large) - _SHOWN} more" if len(plan.too_large) > _SHOWN else ""
        raise LimitExceeded(
            f"importing: {plural(len(plan.too_large), 'value')} can't go into the store, which takes "
            f"{size(plan.largest_value)} at most: {names}{more}; nothing was written"
        )


def _counts(plan: ImportPlan) -> dict[str, object]:
    return {"keys": plan.keys, "bytes": plan.bytes, "skipped_leased": plan.skipped_leased, "whole": plan.whole}


def _skipped(plan: ImportPlan) -> str:
    if not plan.skipped_leased:
        return ""
    left_out = plural(plan.skipped_leased, "key")
    return f"; {left_out} with a lease left out (--include-leased writes them too, without a lease)"
