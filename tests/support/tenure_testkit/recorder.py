"""An observer with every hook, which records each call with all its arguments."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

from tenure import hookspecs

OBSERVER_HOOKS = {
    name.removeprefix("tenure_"): function
    for name, function in vars(hookspecs).items()
    if name.startswith("tenure_") and name != "tenure_backend"
}


class Recorder:
    """Has a method for each hook of observers; :attr:`heard` has what was called, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, SimpleNamespace]] = []
        for name, specification in OBSERVER_HOOKS.items():
            setattr(self, f"tenure_{name}", hookspecs.hookimpl(self._method(name, specification)))

    def of(self, hook: str, **fields: Any) -> list[SimpleNamespace]:
        """Return the calls of a hook, named without ``tenure_``, whose arguments have these values."""
        wanted = fields.items()
        return [call for name, call in self.heard if name == hook and wanted <= vars(call).items()]

    @property
    def hooks(self) -> set[str]:
        """The hooks that were called."""
        return {name for name, _ in self.heard}

    def _method(self, name: str, specification: Any) -> Any:
        names = list(inspect.signature(specification).parameters)
        scope: dict[str, Any] = {"record": lambda *values: self._record(name, dict(zip(names, values, strict=True)))}
        exec(f"def hook({', '.join(names)}): return record({', '.join(names)})", scope)
        return scope["hook"]

    def _record(self, name: str, arguments: dict[str, Any]) -> object:
        self.heard.append((name, SimpleNamespace(**arguments)))
        return len(self.heard) if name in ("operation_started", "recipe_waiting") else None
