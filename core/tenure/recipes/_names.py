"""Where recipes keep their keys: each name has a folder of its own, which no other name's folder contains."""

from __future__ import annotations

from tenure._text import shown
from tenure.errors import InvalidArgument

ROOT = "tenure/"
"""What the keys of all recipes start with, within the store's namespace."""
_LONGEST = 400
"""Bytes of a name, so that a key with its ticket fits the 1,024 bytes of a key, however much is escaped."""


def folder(kind: str, name: str) -> str:
    """Return the prefix of the keys of one recipe: ``tenure/<kind>/<name>/``.

    Args:
        kind: the kind of recipe, such as ``lock``.
        name: the name that participants share. ``/`` and ``%`` are escaped, so that no folder lies in another.

    Returns:
        The prefix, which ends with ``/``.

    Raises:
        InvalidArgument: the name is empty, too long, or no text without NUL.
    """
    if name == "":
        raise InvalidArgument(f"naming a {kind}: a name must not be empty; give the name that all participants share")
    if not isinstance(name, str) or "\0" in name:
        raise InvalidArgument(f"naming a {kind}: a name is a text without NUL, not {shown(name)}; give such a name")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as exc:
        raise InvalidArgument(f"naming a {kind}: {shown(name)} can't be written as UTF-8; give another name") from exc
    if size > _LONGEST:
        raise InvalidArgument(f"naming a {kind}: a name has at most {_LONGEST} bytes, not {size}; give a shorter one")
    return f"{ROOT}{kind}/{escape(name)}/"


def escape(name: str) -> str:
    """Return ``name`` without ``/``. Different names stay different."""
    return name.replace("%", "%25").replace("/", "%2F")


def unescape(text: str) -> str:
    """Return the name that :func:`escape` was given."""
    return text.replace("%2F", "/").replace("%25", "%")
