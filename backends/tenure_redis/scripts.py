"""The scripts: their text from ``lua/``, each with the prelude in front, and their names as Redis counts them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name (SHA-1) under which Redis keeps it after it ran once."""

    text: str
    sha: str


def _load(name: str, *, prelude: str = "") -> Script:
    text = prelude + _read(name)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


_PRELUDE = _read("prelude")

GREET = _load("greet")
_ONCE = _PRELUDE + _read("once")
COMMIT = _load("commit", prelude=_ONCE)
DELETE_PREFIX = _load("delete_prefix", prelude=_ONCE)
READ = _load("read", prelude=_PRELUDE)
PAGE = _load("page", prelude=_PRELUDE)
GRANT = _load("grant", prelude=_PRELUDE)
REFRESH = _load("refresh", prelude=_PRELUDE)
REVOKE = _load("revoke", prelude=_PRELUDE)
LEASES = _load("leases", prelude=_PRELUDE)
TICK = _load("tick", prelude=_PRELUDE)
HISTORY = _load("history", prelude=_PRELUDE)
