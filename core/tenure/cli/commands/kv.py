"""``tenure kv``: keys and values as they are in the store, binary-safe."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from tenure._failed import Failed
from tenure._text import decode, plural, preview, size, visible
from tenure.cli.commands.kv_watch import watch as watch_command
from tenure.cli.completion import key_names
from tenure.cli.groups import Group
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column
from tenure.errors import InvalidArgument
from tenure.spi.types import KeyValue


@click.group(cls=Group)
def kv() -> None:
    """Get, put, delete, list and watch keys.

    Prefixes are plain text: "foo" also matches "foobar"; give "foo/" for a folder.
    """


def as_record(item: KeyValue) -> dict[str, Any]:
    """Return a key for JSON; ``encoding`` tells whether ``value`` is the text itself or base64."""
    value, encoding = decode(item.value)
    return {
        "key": item.key,
        "value": value,
        "encoding": encoding,
        "create_revision": item.create_revision,
        "mod_revision": item.mod_revision,
        "lease_id": item.lease_id,
    }


@kv.command()
@click.argument("key", shell_complete=key_names)
@common()
@settings
def get(options: Settings, key: str) -> None:
    """Write the value of KEY to stdout.

    In a pipe the bytes go out as they are, without a newline. Exit code 1 if there is no such key.
    """
    with options.connect() as store:
        item = store.get(key)
    if item is None:
        raise Failed(f"no such key: {key!r}")
    out = options.output
    if out.json:
        out.document(as_record(item))
    elif not out.terminal:
        sys.stdout.buffer.write(item.value)
        sys.stdout.buffer.flush()
    else:
        text, encoding = decode(item.value)
        if encoding == "utf-8":
            # Line breaks stay; every other control character is escaped.
            click.echo("\n".join(visible(line).replace("\\t", "\t") for line in text.split("\n")))
        else:
            out.note(f"{size(len(item.value))} that aren't text: read them in a pipe, or with --json as base64")


@kv.command()
@click.argument("key", shell_complete=key_names)
@click.argument("value", required=False)
@click.option("--file", "path", type=click.Path(path_type=Path), help="Take the value from this file.")
@click.option("--if-absent", is_flag=True, help="Only if the key doesn't exist.")
@click.option("--revision", type=int, help="Only if the key was last put at this revision (compare-and-set).")
@click.option("--lease", "lease_id", metavar="ID", help="The key ends with this lease. Without it: with none.")
@common()
@settings
def put(
    options: Settings,
    *,
    key: str,
    value: str | None,
    path: Path | None,
    if_absent: bool,
    revision: int | None,
    lease_id: str | None,
) -> None:
    """Set KEY to VALUE, or to the content of stdin if VALUE is "-".

    Exit code 1 if a precondition (--if-absent, --revision) fails: then nothing was changed.
    """
    if (value is None) == (path is None):
        raise click.UsageError("give the value once: as an argument, as - for stdin, or by --file")
    if if_absent and revision is not None:
        raise click.UsageError("--if-absent and --revision exclude each other")
    data = _value(value, path)
    with options.connect() as store:
        if if_absent:
            committed = store.put_if_absent(key, data, lease=lease_id)
        elif revision is not None:
            committed = store.put_if_unchanged(key, data, revision=revision, lease=lease_id)
        else:
            committed = store.put(key, data, lease=lease_id)
    options.output.done(
        {"key": key, "revision": committed.revision, "bytes": len(data)},
        ("put ", "dim"),
        (key, "bold"),
        (f"  {size(len(data))}, revision {committed.revision}", "dim"),
    )


def _value(value: str | None, path: Path | None) -> bytes:
    if path is not None:
        try:
            return path.read_bytes()
        except OSError as exc:
            raise InvalidArgument(f"can't read the value from {str(path)!r}: {exc.strerror}") from exc
    if value == "-":
        return sys.stdin.buffer.read()
    # An argument that isn't valid text arrives with its bytes in surrogates: this gives them back.
    return os.fsencode(value or "")


@kv.command()
@click.argument("key", required=False, shell_complete=key_names)
@click.option("--prefix", metavar="TEXT", help="Delete every key that starts with TEXT instead.")
@click.option("--revision", type=int, help="Only if the key was last put at this revision.")
@click.option("--missing-ok", is_flag=True, help="A key that isn't there is no failure.")
@click.option("--yes", is_flag=True, help='Needed for --prefix "": every key of the namespace.')
@common()
@settings
def delete(
    options: Settings, *, key: str | None, prefix: str | None, revision: int | None, missing_ok: bool, yes: bool
) -> None:
    """Delete KEY, or all keys under a prefix.

    Exit code 1 if there is no such key, or if --revision fails: then nothing was changed.
    """
    if (key is None) == (prefix is None):
        raise click.UsageError("give either a KEY or --prefix TEXT")
    if prefix is not None and revision is not None:
        raise click.UsageError("--revision is for one KEY")
    if prefix == "" and not yes:
        raise click.UsageError("an empty prefix means every key of the namespace: add --yes if that is meant")
    out = options.output
    with options.connect() as store:
        if key is None:
            deleted = store.delete_prefix(prefix or "", allow_empty_prefix=yes).deleted
            out.done({"prefix": prefix, "deleted": deleted}, ("deleted ", "dim"), (plural(deleted, "key"), "bold"))
            return
        committed = store.delete(key, revision=revision)
    if not committed.deleted and not missing_ok:
        raise Failed(f"no such key: {key!r}")
    out.done(
        {"key": key, "deleted": committed.deleted, "revision": committed.revision},
        ("deleted " if committed.deleted else "not there ", "dim"),
        (key, "bold"),
    )


@kv.command("list")
@click.argument("prefix_argument", metavar="[PREFIX]", required=False, shell_complete=key_names)
@click.option("--prefix", metavar="TEXT", help="Keys that start with TEXT. Default: all of the namespace.")
@click.option("--limit", type=click.IntRange(min=1), help="Print at most N keys.")
@click.option("--keys-only", is_flag=True, help="Without values.")
@common()
@settings
def list_keys(
    options: Settings, prefix_argument: str | None, prefix: str | None, limit: int | None, keys_only: bool
) -> None:
    """List keys in byte order, with their values.

    In a pipe, characters that would break a line are escaped; use --json to get values exactly.
    """
    if prefix_argument is not None and prefix is not None:
        raise click.UsageError("give the prefix once")
    out = options.output
    with options.connect() as store:
        listing = store.list(prefix_argument or prefix or "", limit=limit)
    records = [as_record(item) | {"item": item} for item in listing]
    columns = [Column("key", lambda r: r["key"], "bold", whole=True)]
    if not keys_only:
        columns += [
            Column("value", lambda r: _cell(r["item"], whole=not out.terminal)),
            Column("revision", lambda r: r["mod_revision"], "dim", right=True),
            Column("lease", lambda r: r["lease_id"] or "", "dim", whole=True),
        ]
    if out.json:
        hidden = {"item", "value", "encoding"} if keys_only else {"item"}
        out.document([{name: r[name] for name in r if name not in hidden} for r in records])
        return
    out.listing(records, columns, empty="no keys")
    if listing.has_more and out.terminal:
        out.note(f"there are more than {limit}")


def _cell(item: KeyValue, *, whole: bool) -> str:
    if not whole:
        return preview(item.value)
    return item.value.decode(errors="backslashreplace")


kv.add_command(watch_command)
