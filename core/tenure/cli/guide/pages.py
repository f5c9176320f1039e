"""Find the pages, and turn their Markdown into text that reads well without the site around it."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from tenure.errors import ConfigError

PAGES = {
    "write-a-backend": ("how-to", "Write a plugin for a store of your own."),
    "from-dictionary-to-server": ("how-to", "What a network adds: deadlines, errors, leases, logs, feeds."),
    "conformance": ("reference", "Run the suite; what a verdict means; controls; reports."),
    "claims": ("reference", "Publish, compare and challenge a verdict."),
    "spi-versions": ("reference", "What of the plugin interface may change, and how."),
    "lead": ("tutorials", "One of three processes does the job, and a crash hands it over."),
    "troubleshoot": ("how-to", "Find out why an instance, a lock or a watch misbehaves."),
    "doctor": ("how-to", "Examine a store, and understand its findings."),
    "test-your-application": ("how-to", "Faults for the tests of what you build."),
    "glossary": ("", "What each term means."),
}
"""Name of a page -> its folder below ``core/docs``, and one line on it; in the order of the list."""

_FILES = {"lead": "leader"}
"""Pages whose file has another name."""

_COMMENT = re.compile(r"^\s*<!--.*?-->\s*\n", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def path_of(name: str) -> str:
    """Return the place of a page below ``core/docs``."""
    folder, _ = PAGES[name]
    return f"{folder}/{_FILES.get(name, name)}.md".lstrip("/")


def text(name: str) -> str:
    """Return a page as Markdown without comments; links to other pages of the guide say how to print them.

    Raises:
        ConfigError: there is no such page, or the installation lacks it.
    """
    if name not in PAGES:
        raise ConfigError(f"reading the guide: no page {name!r}; give one of {', '.join(PAGES)}")
    return _LINK.sub(_link, _COMMENT.sub("", _read(path_of(name))))


def _read(place: str) -> str:
    import tenure

    # A wheel has the pages beside this module. A checkout has them where authors edit them.
    for found in (
        resources.files("tenure.cli.guide") / "pages" / place,
        Path(tenure.__file__).parents[1] / "docs" / place,
    ):
        if found.is_file():
            return found.read_text(encoding="utf-8")
    raise ConfigError(f"reading the guide: the installation lacks {place}; install the wheel of tenure again")


def _link(found: re.Match[str]) -> str:
    picture, words, target = found.groups()
    if picture:
        return f"(Picture: {words})"
    file = target.partition("#")[0].rpartition("/")[2]
    name = next((name for name in PAGES if path_of(name).rpartition("/")[2] == file), None)
    if name is not None:
        return f"{words} (`tenure guide {name}`)"
    if "://" in target:
        return f"{words} ({target})"
    return words
