"""What to render: from the arguments of the command, or from a TOML file with several templates."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenure.errors import ConfigError

DEFAULT_INTERVAL = 1.0
DEFAULT_DEADLINE = 30.0
_TOP = {"interval": float, "deadline": float, "template": list}
_EACH = {"source": str, "out": str, "check": str, "exec": str, "mode": str}


@dataclass(frozen=True, slots=True)
class Job:
    """One template and its file.

    Attributes:
        source: the template's file.
        out: the file that it becomes; ``-`` is stdout.
        check: a command that has to accept the candidate, whose path takes the place of ``{}``; ``None`` for none.
        command: a command that runs after the file was replaced; ``None`` for none.
        mode: permissions of the file; ``None`` keeps them.
    """

    source: Path
    out: Path
    check: str | None = None
    command: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All jobs, and what they share.

    Attributes:
        jobs: the jobs, in the order in which they are rendered.
        interval: seconds between the beginnings of two renderings, at least.
        deadline: seconds that a command may take.
    """

    jobs: tuple[Job, ...]
    interval: float = DEFAULT_INTERVAL
    deadline: float = DEFAULT_DEADLINE

    def __post_init__(self) -> None:
        if not self.jobs:
            raise ConfigError("rendering: there is no template; give TEMPLATE and OUT, or a file by --templates")
        if not 0 <= self.interval < float("inf") or not 0 < self.deadline < float("inf"):
            raise ConfigError(
                f"rendering: interval ({self.interval}) and deadline ({self.deadline}) are seconds, 0 or more; a "
                "deadline isn't 0"
            )
        outs = [job.out for job in self.jobs]
        if twice := {out for out in outs if outs.count(out) > 1}:
            raise ConfigError(
                f"rendering: two templates become the same file {min(twice)}; give each a file of its own"
            )


def read_plan(path: Path) -> Plan:
    """Read a plan from a TOML file. Paths in it begin at its folder.

    Raises:
        ConfigError: the file can't be read, or something in it is unknown, missing or of the wrong type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"reading {path}: {exc}") from exc
    _check(path, content, _TOP, "")
    jobs = tuple(_job(path, number, entry) for number, entry in enumerate(content.get("template", []), 1))
    return Plan(
        jobs, float(content.get("interval", DEFAULT_INTERVAL)), float(content.get("deadline", DEFAULT_DEADLINE))
    )


def parse_mode(text: str) -> int:
    """Return permissions from octal digits. Raises ``ConfigError``."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ConfigError(f"rendering: mode is octal digits such as 0640, not {text!r}")
    return mode


def _job(path: Path, number: int, entry: Any) -> Job:
    where = f" of template {number}"
    if not isinstance(entry, dict):
        raise ConfigError(f"reading {path}: write each template as a table: [[template]]")
    _check(path, entry, _EACH, where)
    for needed in ("source", "out"):
        if needed not in entry:
            raise ConfigError(f"reading {path}: {needed!r}{where} is missing")
    return Job(
        path.parent / entry["source"],
        path.parent / entry["out"],
        entry.get("check"),
        entry.get("exec"),
        parse_mode(entry["mode"]) if "mode" in entry else None,
    )


def _check(path: Path, table: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for name, value in table.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"reading {path}: {name!r}{where} is unknown; {hint}")
        wanted = known[name]
        if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
            kind = {float: "a number", str: "text", list: "a list of tables"}[wanted]
            raise ConfigError(f"reading {path}: {name!r}{where} is {kind}, not {value!r:.80}")
