"""Public names that are imported when a program first uses them: it pays for what it uses, and a bare import little."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module


def imported(module: str, name: str, places: Mapping[str, str]) -> object:
    """Import ``name``, and keep it as an attribute of ``module``. For the function ``__getattr__`` of that module.

    Args:
        module: the name of the module.
        name: the attribute that the module lacks.
        places: the module that each name is in.

    Raises:
        AttributeError: ``places`` has no such name; the message names one that differs in case and underscores alone.
    """
    if name not in places:
        from tenure._suggestions import missing_attribute  # noqa: PLC0415 - only a wrong name needs it

        raise missing_attribute(module, name, places)
    found = getattr(import_module(places[name]), name)
    setattr(sys.modules[module], name, found)
    return found
