"""Where things lie in Consul's key space, and how a key becomes part of a path and back.

    ROOT/kv/<key>    the store's keys, all namespaces
    ROOT/revision    written by transactions that only delete, so that these have a revision to tell
    ROOT/nothing     never written

The last two are outside of what any prefix of a user's keys can reach, so no list or watch shows it.

Consul cleans the paths of its URLs, refuses unprintable characters in them, and its pages take slashes for
folders. So some characters of a key are written as ``%XX`` for each byte of their UTF-8: the percent sign;
a slash or a dot at the beginning or after a slash (``a//b``, ``./``, ``../``); control characters; and what isn't a
letter, mark, number, punctuation or symbol of Unicode 3.2, old enough for every version of Consul and Python to
agree on. Ordinary keys stay as they are. Each character is written by itself and what precedes it, so the code of
a prefix is a prefix of the code: that is what lets Consul list and watch string prefixes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from tenure.errors import ConfigError

_SPECIAL = re.compile(r"%|(?<![^/])[/.]|[^ -~]")
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
# The only character that was punctuation in Unicode 3.2 and isn't printable any more.
_SOFT_HYPHEN = "\xad"
_old_unicode = unicodedata.ucd_3_2_0


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of one store. ``root`` has no slash at its ends."""

    root: str
    data: str
    """What stands before each key."""
    revision: str
    """The key that gives transactions without a put their revision."""
    nothing: str
    """A key that is never written: asking for it tells the revision of the store."""

    @classmethod
    def below(cls, root: str) -> Layout:
        """The layout under ``root``. Raises ``ConfigError`` unless it is made of plain names."""
        if not all(_SEGMENT.fullmatch(part) for part in root.split("/")):
            raise ConfigError(
                f"the option root is made of letters, digits, '_', '-', '.' and slashes between them, not {root!r}"
            )
        return cls(root, f"{root}/kv/", f"{root}/revision", f"{root}/nothing")

    def path(self, key: str) -> str:
        """The name in Consul of a key or a prefix."""
        return self.data + encode(key)

    def key(self, path: str) -> str | None:
        """The key behind a name in Consul; ``None`` for a name that no key has, which somebody else wrote."""
        return decode(path[len(self.data) :])

    def plain_keys(self, paths: Iterable[str]) -> list[str] | None:
        """:meth:`key` of each path if no name has a special character, as nearly always; else ``None``."""
        start = len(self.data)
        codes = [path[start:] for path in paths]
        # With slashes between them, what is special at the beginning of a name is special after a slash.
        together = "/".join(("", *codes, ""))
        plain = together.isascii() and together.isprintable()
        return codes if plain and not any(special in together for special in ("%", "//", "/.")) else None


def encode(key: str) -> str:
    """``key`` as it stands in Consul."""
    return _SPECIAL.sub(_escape, key)


def decode(code: str) -> str | None:
    """The key that :func:`encode` turns into ``code``, or ``None`` if there is none."""
    if not code:
        return None
    if _SPECIAL.search(code) is None:
        return code
    try:
        key = unquote(code, errors="strict")
    except UnicodeDecodeError:
        return None
    return key if encode(key) == code and "\0" not in key else None


@lru_cache(4096)
def url_path(path: str) -> str:
    """A name in Consul as part of a URL."""
    return quote(path, safe="/")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character > "~" and character != _SOFT_HYPHEN and _old_unicode.category(character)[0] in "LMNPS":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())
