"""Links of a page that work in the repository, rewritten so that they work on the site.

A link to a page of the site stays relative. A page outside ``core/docs`` that the site contains is linked at its place
there. A picture is copied from the place where it lies. A link to any other file leads to the repository if its address
is known; otherwise its text shows the path.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parents[1]
ELSEWHERE = {
    "contrib/tenure-asgi/README.md": "how-to/asgi.md",
    "contrib/tenure-postgresql/README.md": "reference/postgresql.md",
    "contrib/tenure-jsonfile/README.md": "reference/jsonfile.md",
    "contrib/tenure-console/README.md": "how-to/console.md",
    "contrib/tenure-gateway/README.md": "how-to/gateway.md",
    "contrib/tenure-grpc/README.md": "how-to/grpc.md",
    "contrib/tenure-telemetry/README.md": "how-to/telemetry.md",
    "contrib/tenure-workers/README.md": "how-to/workers.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
}
"""Files of the repository that the site contains, and the page that shows each."""

_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def rewrite(text: str, path: Path, shown: Path, source: str) -> str:
    """Return ``text`` with its links rewritten.

    Args:
        text: Markdown.
        path: the file that it is from, to which its links are relative.
        shown: the page of the site that shows it.
        source: the address of the repository's files, or an empty text.

    Returns:
        The Markdown. Code blocks are unchanged.
    """
    # Links may be wrapped over lines, code blocks hold none: each stretch of prose is rewritten as a whole.
    parts: list[str] = []
    prose: list[str] = []
    fence = ""

    def flush() -> None:
        joined = "".join(prose)
        parts.append(_LINK.sub(lambda link: _one(link, path, shown, source), joined))
        prose.clear()

    for line in text.splitlines(keepends=True):
        found = _FENCE.match(line)
        if fence:
            parts.append(line)
            if found and line.strip() == fence:
                fence = ""
        elif found:
            flush()
            parts.append(line)
            fence = found[1]
        else:
            prose.append(line)
    flush()
    return "".join(parts)


def _one(link: re.Match[str], path: Path, shown: Path, source: str) -> str:
    image, words, target = link.groups()
    place, hash_sign, anchor = target.partition("#")
    if not place or "://" in place or place.startswith("mailto:"):
        return link[0]
    # normpath, not resolve: a checkout may be reached by a symbolic link.
    wanted = Path(os.path.normpath(path.parent / place))
    name = os.path.relpath(wanted, ROOT)
    wanted = DOCS / ELSEWHERE[name] if name in ELSEWHERE else wanted
    page = wanted.is_relative_to(DOCS) and wanted.suffix == ".md" and "changelog.d" not in wanted.parts
    if page or (image and wanted.exists()):
        return f"{image}[{words}]({os.path.relpath(wanted, shown.parent)}{hash_sign}{anchor})"
    if source:
        return f"{image}[{words}]({source}/{name}{hash_sign}{anchor})"
    return f'<span class="in-repository" title="{html.escape(name)} in the repository">{words}</span>'
