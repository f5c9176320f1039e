"""Writes the bill of materials that each wheel carries (PEP 770), as CycloneDX: what is in it, and what it needs.

    python tests/packaging/make_sboms.py [--check]

With ``--check`` nothing is written, and the exit code is 1 if a file would change. The bill says what the metadata and
the vendored files say, and has no time and no random number, so the same tree always gives the same bill. The exact
versions of an installation are in the bill that a release makes of the installed wheel.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VENDORED = {
    "tenure-console": (
        {"type": "library", "name": "htmx.org", "licence": "0BSD", "file": "src/tenure_console/static/htmx.min.js"},
    )
}
"""Distribution -> what its wheel has inside that others wrote."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(.*)")


def places() -> dict[Path, Path]:
    """Return the folder of each distribution, and the bill of each."""
    contrib = sorted(path.parent for path in ROOT.glob("contrib/*/pyproject.toml"))
    return {ROOT: ROOT / "core/tenure.cdx.json"} | {folder: folder / f"{folder.name}.cdx.json" for folder in contrib}


def bill(folder: Path) -> dict[str, Any]:
    """Return the bill of the distribution in ``folder``."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    me = f"pkg:pypi/{project['name']}@{project['version']}"
    inside = [_vendored(folder, each) for each in VENDORED.get(project["name"], ())]
    needed = _needed(project)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": me,
                "name": project["name"],
                "version": project["version"],
                "purl": me,
                "licenses": [{"expression": project["license"]}],
                **({"components": inside} if inside else {}),
            }
        },
        "components": [needed[name] for name in sorted(needed)],
        "dependencies": [
            {
                "ref": me,
                "dependsOn": [f"pkg:pypi/{name}" for name in sorted(needed) if needed[name]["scope"] == "required"],
            }
        ],
    }


def _vendored(folder: Path, what: dict[str, str]) -> dict[str, Any]:
    content = (folder / what["file"]).read_bytes()
    found = re.search(rb'version="([\d.]+)"', content)
    if found is None:
        raise ValueError(f"{what['file']}: no version in it")
    version = found[1].decode()
    return {
        "type": what["type"],
        "name": what["name"],
        "version": version,
        "purl": f"pkg:npm/{what['name']}@{version}",
        "licenses": [{"expression": what["licence"]}],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
    }


def _needed(project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    extras = project.get("optional-dependencies", {})
    lines = [("", line) for line in project["dependencies"]]
    lines += [(extra, line) for extra, texts in extras.items() for line in texts]
    found: dict[str, dict[str, Any]] = {}
    for extra, line in lines:
        parts = _REQUIREMENT.fullmatch(line)
        if parts is None or parts[1] == project["name"]:
            continue
        name = parts[1].lower()
        one = found.setdefault(
            name,
            {
                "type": "library",
                "bom-ref": f"pkg:pypi/{name}",
                "name": name,
                "purl": f"pkg:pypi/{name}",
                "scope": "optional",
                "properties": [],
            },
        )
        if not extra:
            one["scope"] = "required"
        where = f"tenure:requirement:{extra}" if extra else "tenure:requirement"
        one["properties"].append({"name": where, "value": line})
    return found


def main(arguments: list[str]) -> int:
    """Write the bills, or check them."""
    stale = []
    for folder, path in places().items():
        text = json.dumps(bill(folder), indent=1) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(stale)}: not what the metadata says; run python {__file__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
