"""The files of a new store plugin: names that go together, and templates filled in with them."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from tenure._plugins import discovery
from tenure.errors import InvalidArgument
from tenure.spi.plugin import UrlForm

_LONGEST = 30  # with room for what the generated code's lines have besides
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # as for a distribution, and a letter first
_SCHEME = re.compile(r"[a-z][a-z0-9.-]*")

_FILES = {
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    ".gitignore": "gitignore.tmpl",
    "check": "check.tmpl",
    "$package/__init__.py": "init.py.tmpl",
    "$package/plugin.py": "plugin.py.tmpl",
    "$package/backend.py": "backend.py.tmpl",
    "$package/py.typed": "",
    "tests/test_conformance.py": "test_$url_form.py.tmpl",
}
"""Paths of the files, each with its template (none: the file is empty)."""
_FILES_WITH_A_SERVER = {
    "$package/backend.py": "backend_hosts.py.tmpl",
    "$package/connection.py": "connection.py.tmpl",
    "$package/wire.py": "wire.py.tmpl",
    "tests/server.py": "server.py.tmpl",
}
"""Files that differ, or are added, for a store whose URL names host and port."""
_SERVER = """\
        default_port=7000,  # REPLACE: the default port of your server
        variants=frozenset({"tls"}),  # REPLACE: leave it out if your server has no TLS
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    url_form: UrlForm
    summary: str
    example: str
    """The form of a URL after ``://``."""
    files: dict[str, str]


URL_FORMS = {
    "name": _Kind(UrlForm.NAME, "a dictionary in this process", "suite", _FILES),
    "hosts": _Kind(UrlForm.HOSTS, "a dictionary in a server", "127.0.0.1:7000", _FILES | _FILES_WITH_A_SERVER),
    "file": _Kind(UrlForm.FILE, "a dictionary in this process", "/tmp/suite", _FILES),  # noqa: S108 - an example in a text
}
"""The forms of a store's URLs."""


@dataclass(frozen=True, slots=True)
class Project:
    """A package to be written: its names, and the text of each file by its path."""

    distribution: str
    package: str
    scheme: str
    summary: str
    files: dict[str, str]

    def write(self, directory: Path) -> None:
        """Write all files, or none if one exists: then ``InvalidArgument`` names it. Raises ``OSError``."""
        present = sorted(name for name in self.files if (directory / name).exists())
        if present:
            raise InvalidArgument(
                f"{directory} has {', '.join(present)} already, and nothing is overwritten: name another --directory"
            )
        if directory.exists() and not directory.is_dir():
            raise InvalidArgument(f"{directory} is no directory: name another --directory")
        for name, text in self.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)


def plan(name: str, *, scheme: str | None, url_form: str) -> Project:
    """The package of a store called ``name``. Raises ``InvalidArgument`` for names that can't be, or are taken."""
    stem = re.sub(r"[-_.]+", "-", name).lower().removeprefix("tenure-")
    if not _NAME.fullmatch(name) or not stem[:1].isalpha():
        raise InvalidArgument(
            f"{name!r} can't name a distribution: use letters, digits, '-', '_' and '.', beginning with a letter and "
            "ending with a letter or digit"
        )
    if len(stem) > _LONGEST:
        raise InvalidArgument(f"{stem!r} has {len(stem)} letters, and {_LONGEST} are the most: choose a shorter name")
    chosen = stem if scheme is None else scheme.removesuffix("://")
    if not _SCHEME.fullmatch(chosen):
        raise InvalidArgument(
            f"{chosen!r} can't be a scheme: use small letters, digits, '-' and '.', beginning with a letter"
        )
    claim = next((claim for claim in discovery.claims() if claim.scheme == chosen), None)
    if claim is not None:
        raise InvalidArgument(
            f"{chosen}:// is served by {claim.distribution} {claim.version} already, and two plugins for one scheme "
            "are an error: choose another name, or --scheme"
        )
    package = "tenure_" + stem.replace("-", "_")
    if importlib.util.find_spec(package) is not None:
        raise InvalidArgument(f"a package {package} is installed already: choose another name")
    kind = URL_FORMS[url_form]
    camel = "".join(part.capitalize() for part in stem.split("-"))
    names = {
        "distribution": f"tenure-{stem}",
        "package": package,
        "scheme": chosen,
        "stem": camel,
        "class_name": f"{camel}Backend",
        "url_form": kind.url_form.name,
        "summary": kind.summary,
        "test_url": f"{chosen}://{kind.example}",
        "port": _SERVER if kind.url_form is UrlForm.HOSTS else "",
        "controls": "",
    }
    names["controls"] = _fill("controls.py.tmpl", names).rstrip("\n")
    files = {
        Template(path).substitute(names): _fill(template.replace("$url_form", url_form), names) if template else ""
        for path, template in kind.files.items()
    }
    return Project(names["distribution"], package, chosen, kind.summary, files)


def _fill(template: str, names: dict[str, str]) -> str:
    text = (resources.files("tenure.cli.scaffold") / "templates" / "backend" / template).read_text(encoding="utf-8")
    return Template(text).substitute(names)
