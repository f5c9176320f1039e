"""The error of work that was done and ended in a no: raised by migration and commands, shown without advice."""

from __future__ import annotations

from tenure.errors import ErrorOrigin, TenureError


class Failed(TenureError):
    """A command did its work and the answer is no: what it looked for isn't there, or isn't as it should be."""

    origin = ErrorOrigin.CALLER
