"""Writes the table of ``backend-modules.md``: what a module's name means, and which backends have it.

    python core/docs/make_module_table.py [--check]

The meanings are in ``backend_modules.toml``, the modules in ``backends/`` and ``contrib/``. With ``--check`` nothing is
written, and the exit code is 1 if the page would change.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).with_name("reference") / "backend-modules.md"
MEANINGS = Path(__file__).with_name("backend_modules.toml")
_MARKED = re.compile(r"(<!-- table: modules -->\n).*?(<!-- end of table -->)", re.DOTALL)
_EVERY = 7  # backends: a module that so many have is said to be in all but those that lack it


def backends() -> dict[str, frozenset[str]]:
    """The names of the modules of each backend, by the backend's name: those of this project, then those in contrib."""
    found = {}
    for pattern in ("backends/tenure_*", "contrib/*/src/tenure_*"):
        for folder in sorted(ROOT.glob(pattern)):
            modules = frozenset(path.stem for path in folder.glob("*.py")) - {"__init__"}
            if "plugin" in modules:  # contrib has distributions that are no backends
                found[folder.name.removeprefix("tenure_")] = modules
    return found


def meanings() -> dict[str, str]:
    """What each module's name means."""
    return tomllib.loads(MEANINGS.read_text(encoding="utf-8"))


def problems(found: Mapping[str, frozenset[str]], known: Mapping[str, str]) -> list[str]:
    """Modules without a meaning, and meanings without a module."""
    names = frozenset().union(*found.values())
    unexplained = [
        f"{backend} has a module {name!r} that {MEANINGS.name} doesn't explain: use one of its names, or add a line"
        for backend, modules in found.items()
        for name in sorted(modules - set(known))
    ]
    unused = [
        f"{MEANINGS.name} explains {name!r}, which no backend has: remove it" for name in sorted(set(known) - names)
    ]
    return unexplained + unused


def table(found: Mapping[str, frozenset[str]], known: Mapping[str, str]) -> str:
    """The Markdown table, in the order of the meanings."""
    lines = ["| module | meaning | in |", "|---|---|---|"]
    for name, meaning in known.items():
        lines.append(f"| `{name}` | {meaning} | {_those(name, found)} |")
    return "\n".join(lines) + "\n"


def _those(name: str, found: Mapping[str, frozenset[str]]) -> str:
    having = [backend for backend, modules in found.items() if name in modules]
    missing = [backend for backend in found if backend not in having]
    if not missing:
        return "all"
    return f"all but {', '.join(missing)}" if len(having) >= _EVERY else ", ".join(having)


def render(page: str) -> str:
    """The text of the page with its table made anew. Raises ``ValueError`` for modules without a meaning."""
    found, known = backends(), meanings()
    wrong = problems(found, known)
    if wrong:
        raise ValueError("\n".join(wrong))
    return _MARKED.sub(lambda part: part[1] + table(found, known) + part[2], page)


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    wanted = render(page)
    if page == wanted:
        return 0
    if "--check" in arguments:
        print(f"{PAGE} isn't what the backends have: run python {__file__}", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
