"""Which versions are supported and tested: from the package's metadata, the claims of conformance, and the matrix.

``python tests/conformance/run_matrix.py --claims core/docs/claims`` makes the claims from reports. A store without a
claim has the server of the matrix alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MATRIX = ROOT / "core/docs/reference/conformance.md"
CLAIMS = ROOT / "core/docs/claims"
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


def claims() -> dict[str, dict[str, Any]]:
    """Return the project's own claims of conformance, by the scheme of the store."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(CLAIMS.glob("*.json"))]
    return {claim["store"]["scheme"]: claim for claim in found}


def reference() -> str:
    """Return Markdown: one table of what is supported."""
    rows = ["| what | supported | conformance tested on | level | rules kept | day |", "|---|---|---|---|---|---|"]
    rows.append(f"| Python | {', '.join(pythons())} | each of them | | | |")
    rows.append("| operating system | Linux | Debian | | | |")
    claimed = claims()
    for store, server in tested().items():
        least = f"{LEAST[store]} or later" if store in LEAST else "with Tenure or Python"
        rows.append(f"| {store} | {least} | {_run(claimed[store]) if store in claimed else f'{server} | | |'} |")
    return "\n".join(rows)


def _run(claim: dict[str, Any]) -> str:
    store, numbers = claim["store"], claim["numbers"]
    server = f"{store['product']} {store['version']}, on Python {claim['environment']['python']}"
    kept = f"{numbers['pass']} of {numbers['catalogue']}, {numbers['fail']} broken"
    return f"{server} | {claim['level']} | {kept} | {claim['run']['began'][:10]}"
