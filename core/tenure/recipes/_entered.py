"""Advice for those who enter a recipe itself, or use a block before it is entered. Type checkers report both."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from tenure.recipes._held_state import HeldState

_GIVES_BACK = ("release", "resign", "unlock")
_ASKS = {"check", "guard", "token", "held", "lost", "remaining", "on_lost", "fence", "wait_until_lost", *_GIVES_BACK}
_ASKS.update(name for name in vars(HeldState) if not name.startswith("_"))


class EnteredByMethod:
    """A recipe that a method makes a block of, in either face. Anything else names that method."""

    _block = "{0}.hold(timeout=10) as held"

    if not TYPE_CHECKING:

        def __enter__(self) -> None:
            raise TypeError(self._advice("with"))

        def __exit__(self, *error: object) -> None:
            raise NotImplementedError

        async def __aenter__(self) -> None:
            raise TypeError(self._advice("async with"))

        async def __aexit__(self, *error: object) -> None:
            raise NotImplementedError

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            advice = f"; what it holds is given back: {self._block.rpartition(' ')[2]}.release()"
            text = f"{kind!r} object has no attribute {name!r}{advice if name in _GIVES_BACK else ''}"
            raise AttributeError(text, name=name, obj=None if name in _GIVES_BACK else self)

    def _advice(self, word: str) -> str:
        word = "async with" if ".aio." in type(self).__module__ else word
        block = self._block.format(type(self).__name__.lower())
        return f"entering {self!r}: only what it gives is a block; write `{word} {block}:`"


class NotYetHeld:
    """A block of ``with`` that acquires when it is entered, in either face."""

    _held: object = None  # an interrupt may leave an object that isn't complete
    _of: object
    _entered = False

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            if name not in _ASKS:
                raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(
                f"{self!r} has no {name!r}: only what entering it gives has that; write `with ... as held:`, then "
                f"held.{name}",
                name=name,
                obj=None,
            )

    def __del__(self) -> None:
        if not self._entered and "_of" in vars(self) and not sys.is_finalizing():
            warnings.warn(f"dropping {self!r}: nothing was acquired; enter it by `with`", ResourceWarning, stacklevel=2)

    def __repr__(self) -> str:
        return f"<Holding of {self._of!r}, {'not entered' if self._held is None else 'entered'}>"
