"""Templates: Jinja2 in its sandbox, where an undefined name is an error and text from the store is checked or quoted.

A template is given ``service(name)``, ``services()``, ``key(name)`` and ``keys(prefix)``. Which keys it reads is known
only once it runs, so a source opens a watch for each when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError
from jinja2.runtime import BlockReference, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tenure.registry import Instance
from tenure_gateway.directory import Sight
from tenure_gateway.render.quoting import FILTERS, Quoted, Refused, checked


class KeySource(Protocol):
    """Where templates read keys."""

    def key(self, name: str) -> str | None:
        """Return a key's value as text; ``None`` if there is no such key."""

    def keys(self, prefix: str) -> Mapping[str, str]:
        """Return the keys that begin with ``prefix``, without it, and their values as text."""


class RenderError(Exception):
    """A template can't be rendered. The message names the template, the line if known, and the cause."""


class _Environment(ImmutableSandboxedEnvironment):
    """Marks what macros, blocks and recursive loops return: it consists of the template's text and checked values."""

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls."""
        result = super().call(context, obj, *args, **kwargs)
        return Quoted(result) if isinstance(obj, Macro | BlockReference | LoopContext) else result


class Template:
    """One template file. It is read again by :meth:`load`, and includes are found in its folder.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.load()

    def load(self) -> None:
        """Read the file, and forget what it included.

        Raises:
            RenderError: the file can't be read, or isn't a template.
        """
        environment = _Environment(
            loader=FileSystemLoader(self.path.parent),
            undefined=StrictUndefined,
            finalize=checked,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(FILTERS)
        try:
            self._template = environment.from_string(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, TemplateError) as exc:
            raise RenderError(f"reading the template {self.path}: {_cause(exc)}") from exc

    def render(self, sight: Sight, keys: KeySource) -> bytes:
        """Return the file's content.

        Args:
            sight: the services.
            keys: where keys are read.

        Raises:
            RenderError: the template asks for what isn't there, or a value can't stand in the file.
        """
        try:
            return self._template.render(_Names(sight, keys).all()).encode()
        except (TemplateError, Refused, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as exc:
            line = _line_of(exc)
            where = f"{self.path}, line {line}" if line else str(self.path)
            raise RenderError(f"rendering {where}: {_cause(exc)}") from exc


class _Names:
    """What a template can call, for one rendering."""

    def __init__(self, sight: Sight, keys: KeySource) -> None:
        self._sight = sight
        self._keys = keys

    def all(self) -> dict[str, Any]:
        return {"service": self.service, "services": self.services, "key": self.key, "keys": self.keys}

    def service(self, name: str, *, ready: bool = True, zone: str | None = None) -> tuple[Instance, ...]:
        found = self._sight.services.get(name, ())
        return tuple(each for each in found if (each.ready or not ready) and zone in (None, each.zone))

    def services(self) -> tuple[str, ...]:
        return tuple(self._sight.services)

    def key(self, name: str, default: str | None = None) -> str:
        value = self._keys.key(name)
        if value is not None:
            return value
        if default is None:
            raise Refused(
                f"reading the key {name!r}: there is no such key; create it, or give a default: key(name, '')"
            )
        return default

    def keys(self, prefix: str) -> Mapping[str, str]:
        return self._keys.keys(prefix)


def _cause(exc: BaseException) -> str:
    message = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    line = getattr(exc, "lineno", None)
    return f"line {line}: {message}" if line else message


def _line_of(exc: BaseException) -> int | None:
    """Return the line of the template's own frame; Jinja2 rewrites tracebacks so that they have it."""
    found = None
    trace = exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
