"""Which versions are supported and tested, from the package's metadata and from the conformance matrix."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
MATRIX = ROOT / "core/docs/reference/conformance.md"
_PYTHON = "Programming Language :: Python :: "
LEAST = {
    "etcd": "3.4",
    "redis": "7",
    "zookeeper": "3.6",
    "consul": "1.7",
    "postgresql": "14",
}
"""The oldest version of each server that is meant to work."""


def pythons() -> list[str]:
    """Return the versions of Python that the package's metadata name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [text.removeprefix(_PYTHON) for text in project["classifiers"] if text.startswith(_PYTHON)]
    return [version for version in found if re.fullmatch(r"3\.\d+", version)]


def tested() -> dict[str, str]:
    """Return the server that the conformance matrix is about, for each store."""
    lines = MATRIX.read_text(encoding="utf-8").partition("<!-- matrix -->\n")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[:8]]
    servers = next(row for row in rows if row[0] == "server")
    return dict(zip(rows[0][1:], servers[1:], strict=True))


def reference() -> str:
    """Return Markdown: one table of what is supported."""
    rows = ["| what | supported | conformance tested on |", "|---|---|---|"]
    rows.append(f"| Python | {', '.join(pythons())} | each of them |")
    rows.append("| operating system | Linux | Debian |")
    for store, server in tested().items():
        least = f"{LEAST[store]} or later" if store in LEAST else "with Tenure or Python"
        rows.append(f"| {store} | {least} | {server} |")
    return "\n".join(rows)
