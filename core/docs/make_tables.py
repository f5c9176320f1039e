"""Writes the tables and lists of ``stores.md`` from what the plugins and the opened stores declare.

    python core/docs/make_tables.py [--check] [--page=PATH] [URL...]

The embedded stores are always asked. A store that needs a server is asked where a URL is given for it; without one its
column stays as it is on the page. With ``--check`` nothing is written, and the exit code is 1 if the page would change.

A page about any installed store may have the same: between ``<!-- table: options-SCHEME -->`` and ``<!-- end of table
-->`` its options, between ``<!-- list: notes-SCHEME -->`` and ``<!-- end of list -->`` what is worth knowing of it. The
rules and tests that verify this are a table ``evidence-SCHEME``, for the stores of ``stores.md`` on ``evidence.md``.

``logs.md`` has a list of the log messages, and ``cli.md`` a table of the commands, for readers of a clone.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path

import tenure
from tenure._plugins import discovery
from tenure._plugins.url import CORE_OPTIONS
from tenure.spi import BackendPlugin, Guarantee, Limit, Use, field_notes

sys.path.insert(0, str(Path(__file__).parent))

from site_parts import command, logs

PAGE = Path(__file__).with_name("reference") / "stores.md"
EVIDENCE = PAGE.with_name("evidence.md")
LOGS, COMMANDS = PAGE.with_name("logs.md"), PAGE.with_name("cli.md")
_MARKED = re.compile(r"(<!-- (table|list): (?P<name>\S+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
_DAY = 86_400.0
_WIDTH = 125

Column = dict[str, str]  # field of Capabilities -> what its cell says


def schemes(page: str) -> tuple[str, ...]:
    """The stores that the page has a section for, in its order."""
    names = (part["name"] for part in _MARKED.finditer(page))
    return tuple(name.removeprefix("options-") for name in names if name.startswith("options-"))


def declared(url: str) -> Column:
    """Open the store and say in words what it declares."""
    with tenure.connect(url) as store:
        values = store.capabilities.as_dict()
    return {name: _words(value, field_notes()[name]) for name, value in values.items()}


def _words(value: float, note: Guarantee | Limit) -> str:
    if isinstance(note, Guarantee):
        return "yes" if value else "no"
    if note.unit == "bytes":
        return f"{value / 1024**2:.3g} MiB" if value >= 1024**2 else f"{value / 1024:.4g} KiB"
    if note.unit == "seconds":
        if value < _DAY:
            return f"{value:g} s"
        return "1 day" if value == _DAY else f"{value / _DAY:,.0f} days"
    return f"{value:,g}"


def capabilities_table(columns: dict[str, Column]) -> str:
    """All stores side by side: the promises, then the limits."""
    rows = [["the store ...", *(f"`{scheme}`" for scheme in columns)]]
    for name, note in field_notes().items():
        rows.append([f"`{name}`: {note.text}", *(columns[scheme].get(name, "?") for scheme in columns)])
    return _table(rows)


def options_table(plugin: BackendPlugin) -> str:
    """The options of one store's URLs."""
    rows = [["option", "default", "meaning"]]
    for option in plugin.options:
        default = "" if option.default is None else f"`{option.default}`"
        rows.append([f"`{option.name}`", default, option.help])
    return _table(rows)


def notes_list(plugin: BackendPlugin) -> str:
    """What is worth knowing of one store."""
    lines = []
    for note in plugin.caveats:
        text = f"- **{note.title}.** {note.text}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n" if lines else ""


def evidence_table(plugin: BackendPlugin, path: Path) -> str:
    """What verifies each of the notes, with links from the page at ``path`` to the tests."""
    rows = [["caveat", "rules and tests that verify it"]]
    rows += [[note.title, ", ".join(_check(each, path) for each in note.verified_by)] for note in plugin.caveats]
    return _table(rows)


def _check(name: str, path: Path) -> str:
    """A rule by its id; a test with a link to its file, which is below one of the folders that the page is in."""
    file, separator, test = name.partition("::")
    if not separator:
        return f"`{name}`"
    root = next(folder for folder in path.resolve().parents if (folder / file).is_file())
    return f"[`{test}`]({os.path.relpath(root / file, path.parent)})"


def rights_table(page: str) -> str:
    """What each use of each store needs: of plugins that are installed as they say, of others as the page has it."""
    found = _rows(page, "rights")
    names = [cell.strip("`") for cell in found[0][1:]] if found else []
    present = {name: {row[0]: row[n] for row in found[1:]} for n, name in enumerate(names, 1)}
    installed = {claim.scheme for claim in discovery.claims()}
    columns: dict[str, Column] = {}
    for scheme in dict.fromkeys((*schemes(page), *names)):
        rights = discovery.find(scheme).rights if scheme in installed else ()
        made = {str(right.use): right.needed.replace("|", "\\|") for right in rights}
        if made or scheme in present:
            columns[scheme] = made or present[scheme]
    rows = [["to ...", *(f"`{scheme}`" for scheme in columns)]]
    rows += [[str(use), *(column.get(str(use), "") for column in columns.values())] for use in Use]
    return _table(rows)


def _rows(page: str, name: str) -> list[list[str]]:
    """The cells of a table as the page has it; none if it has no such table."""
    table = next((part for part in _MARKED.finditer(page) if part["name"] == name), None)
    lines = [] if table is None else [line for line in table[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


def core_options_table() -> str:
    """The options that every URL has."""
    return _table([["option", "meaning"], *([f"`{option.name}`", option.help] for option in CORE_OPTIONS)])


def _table(rows: list[list[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def read_columns(page: str) -> dict[str, Column]:
    """The columns as the page has them."""
    rows = _rows(page, "capabilities")
    if not rows:
        return {}
    schemes = [cell.strip("`") for cell in rows[0][1:]]
    names = [row[0].split("`")[1] for row in rows[1:]]
    return {s: dict(zip(names, (row[n] for row in rows[1:]), strict=True)) for n, s in enumerate(schemes, 1)}


def render(page: str, urls: Iterable[str], path: Path = PAGE) -> str:
    """The text of the page at ``path`` with its tables and lists made anew."""
    columns = read_columns(page)
    with tempfile.TemporaryDirectory() as folder:
        for url in ("memory://", f"sqlite://{folder}/tables.db", *urls):
            columns[url.partition("://")[0].partition("+")[0]] = declared(url)
    ordered = {scheme: columns.get(scheme, {}) for scheme in schemes(page)}
    tables = {"capabilities": capabilities_table(ordered), "options": core_options_table()}
    tables["rights"] = rights_table(page)
    tables |= {"logs": f"{logs.reference()}\n", "commands": f"{command.table()}\n"}
    for scheme in dict.fromkeys(
        part["name"].partition("-")[2] for part in _MARKED.finditer(page) if "-" in part["name"]
    ):
        plugin = discovery.find(scheme)
        tables |= {
            f"options-{scheme}": options_table(plugin),
            f"notes-{scheme}": notes_list(plugin),
            f"evidence-{scheme}": evidence_table(plugin, path),
        }
    return _MARKED.sub(lambda part: part[1] + tables[part["name"]] + part[4], page)


def main(arguments: list[str]) -> int:
    urls = [argument for argument in arguments if not argument.startswith("--")]
    named = [Path(word.removeprefix("--page=")) for word in arguments if word.startswith("--page=")]
    stale = []
    for path in named or [PAGE, EVIDENCE, LOGS, COMMANDS]:
        page = path.read_text(encoding="utf-8")
        wanted = render(page, urls, path)
        if page != wanted:
            stale.append(path)
            if "--check" not in arguments:
                path.write_text(wanted, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(map(str, stale))}: not what the stores declare; run python {__file__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
