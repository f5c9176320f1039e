"""What a caller may have meant by a name that isn't there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``word``, ``None`` if none is like it."""
    found = difflib.get_close_matches(word.lower(), sorted(known), n=1)
    return found[0] if found else None


def missing_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return what a module raises for ``name``, with the known name that differs in case and underscores alone."""
    plain = name.replace("_", "").lower()
    same = next((one for one in known if one.lower() == plain), None)
    hint = f". Did you mean: {same!r}?" if same else ""
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}", name=name, obj=None)


def meant(word: str, known: Iterable[str], shape: str = "{!r}") -> str:
    """Return ``"; did you mean 'x'?"`` for the known name that is most like ``word``, an empty text if none is.

    Args:
        word: the name that isn't known.
        known: the names that are.
        shape: how the message shows a name.
    """
    found = closest(word, known)
    return "" if found is None else f"; did you mean {shape.format(found)}?"
