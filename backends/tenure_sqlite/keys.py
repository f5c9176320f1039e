"""Prefixes as ranges of keys, so that the primary key's order serves them."""

from __future__ import annotations

_LAST = "\U0010ffff"
_BEFORE_SURROGATES, _AFTER_SURROGATES = "\ud7ff", "\ue000"


def end_of(prefix: str) -> str | None:
    """The smallest text greater than everything that starts with ``prefix``; ``None``: there is none.

    That is the prefix with its last character moved up by one. U+10FFFF has no successor, so there the
    character before is moved; surrogates aren't text and are skipped.
    """
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    last = stem[-1]
    successor = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else chr(ord(last) + 1)
    return stem[:-1] + successor


def condition(prefix: str, after: str | None, *, upto: str | None = None) -> tuple[str, tuple[str, ...]]:
    """SQL for "``key`` starts with ``prefix``, is greater than ``after`` and not greater than ``upto``", and its
    arguments. ``upto`` is a key of the prefix."""
    sql, arguments = ("key >= ?", (prefix,)) if after is None or after < prefix else ("key > ?", (after,))
    if upto is not None:
        return f"{sql} AND key <= ?", (*arguments, upto)
    end = end_of(prefix)
    return (sql, arguments) if end is None else (f"{sql} AND key < ?", (*arguments, end))
