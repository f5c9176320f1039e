"""Sphinx extension of this site: fills in what comes from code, and leads links to the place where they work.

A page says where a generated part belongs: a line ``<!-- site: NAME -->``, with a name of :data:`PARTS`. The parts are
made while the site is built, so they are never older than the code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from site_parts import command, errors, hooks, links, options, support

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parents[1]
PARTS: dict[str, Callable[[], str]] = {
    "errors": errors.catalogue,
    "command": command.reference,
    "hooks": hooks.reference,
    "support": support.reference,
    "options": options.reference,
    "capabilities": options.capabilities,
}
_PLACE = re.compile(r"^<!-- site: (\S+) -->$", re.MULTILINE)
_FILE = re.compile(r"^<!-- site-file: (\S+) -->$", re.MULTILINE)


def page(text: str, path: Path, source: str = "") -> str:
    """Return the Markdown of a page as the site has it.

    Args:
        text: the Markdown in the repository.
        path: the page's file.
        source: the address of the repository's files, such as ``https://HOST/OWNER/NAME/blob/COMMIT``; may be empty.

    Returns:
        The Markdown with generated parts and with links that work on the site.

    Raises:
        KeyError: a page names a part that no module makes.
    """
    text = _FILE.sub(lambda place: _other_page(place[1], path, source), text)
    text = links.rewrite(text, path, path, source)
    return _PLACE.sub(lambda place: PARTS[place[1]](), text)


def _other_page(name: str, path: Path, source: str) -> str:
    """Return a page that lies elsewhere in the repository, as part of the page at ``path``."""
    other = ROOT / name
    return links.rewrite(other.read_text(encoding="utf-8"), other, path, source)


def _read(app: Any, docname: str, content: list[str]) -> None:
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".md":
        content[0] = page(content[0], path, app.config.tenure_source)


def _mark_sections(_app: Any, what: str, _name: str, _owner: Any, _options: Any, lines: list[str]) -> None:
    """Give the three sections of an error's docstring a paragraph each."""
    if what == "exception":
        text = "\n".join(lines)
        titles = "|".join(errors.SECTIONS)
        lines[:] = re.sub(rf"^({titles}): ", r"\n**\1**: ", text, flags=re.MULTILINE).splitlines()


def setup(app: Any) -> dict[str, Any]:
    """Register the extension. Sphinx calls it."""
    app.add_config_value("tenure_source", os.environ.get("TENURE_SITE_SOURCE", ""), "env")
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _mark_sections, priority=400)  # before napoleon reads the sections
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
