"""Less patience: what the memory store doesn't do in seconds it never does.

A rule waits up to fifteen seconds for what should take milliseconds, which a hundred broken stores make long. In a
process that tries mutants, and in no other, those waits are cut. The controls are tried under the same haste, so
a wait that is too short shows as a rule that finds something in a sound store.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType, ModuleType

import tenure.conformance

_WAITS = {"EVENT_TIMEOUT": 2.0, "DEADLINE": 10.0, "RECOVERY": 5.0, "_SHRINKING": 3.0}
"""Constants of the suite's modules, with the seconds that take their place."""
_LEFT_OUT = ("pytest_plugin", "quick")


def shorten() -> None:
    """Put the shorter waits everywhere in the suite: in its modules' constants and in defaults made of them."""
    modules = [
        import_module(f"tenure.conformance.{info.name}")
        for info in pkgutil.iter_modules(tenure.conformance.__path__)
        if info.name not in _LEFT_OUT
    ]
    old = {
        id(vars(module)[name]): seconds
        for module in modules
        for name, seconds in _WAITS.items()
        if name in vars(module)
    }
    for module in modules:
        for name, seconds in _WAITS.items():
            if name in vars(module):
                setattr(module, name, seconds)
        for function in _functions(module):
            defaults = function.__defaults__ or ()
            function.__defaults__ = tuple(old.get(id(each), each) for each in defaults) or None
            for name, value in (function.__kwdefaults__ or {}).items():
                function.__kwdefaults__[name] = old.get(id(value), value)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for member in vars(module).values():
        if getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(member):
            yield member
        elif inspect.isclass(member):
            yield from (each for each in vars(member).values() if inspect.isfunction(each))
