"""Checks a built site: each local link and each anchor leads somewhere, and no page loads anything from a network.

    python core/docs/check_site.py build/site

MyST checks links between pages while it builds; this sees all of them, also those that themes and docstrings make.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "srcset"}


@dataclass
class Found(HTMLParser):
    """What one page refers to."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors.update(value for name in ("id", "name") if (value := values.get(name)))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif target := values.get(_LOADED.get(tag, "")):
            self.loaded.append(target)


def read(folder: Path) -> dict[Path, Found]:
    """Return what each HTML page below ``folder`` refers to."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        found = pages[path.resolve()] = Found()
        found.feed(path.read_text(encoding="utf-8"))
    return pages


def problems(folder: Path) -> list[str]:
    """Return a line for each link that leads nowhere and each file that a page loads from a network."""
    pages = read(folder)
    told = []
    for path, found in pages.items():
        name = path.relative_to(folder.resolve())
        told += [f"{name} loads {target}" for target in found.loaded if urlsplit(target).netloc]
        for target in [*found.links, *found.loaded]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            wanted = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not wanted.exists():
                told.append(f"{name} links to {target}, which isn't there")
            elif parts.fragment and wanted in pages and unquote(parts.fragment) not in pages[wanted].anchors:
                told.append(f"{name} links to {target}, and that page has no such anchor")
    return told


def main(arguments: list[str]) -> int:
    (folder,) = map(Path, arguments)
    pages = len(list(folder.rglob("*.html")))
    found = sorted(set(problems(folder)))
    print("\n".join(found) or f"{pages} pages: every link leads somewhere, and nothing is loaded from a network")
    return bool(found) or not pages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
