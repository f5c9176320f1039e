"""The options by which ``leasehold conformance`` is told what it may do to the server, so that fault rules run too."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from leasehold.errors import ConfigError, LeaseholdError

if TYPE_CHECKING:
    from leasehold.conformance.driver import Driver

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Controls:
    """What the options say."""

    attribute: str | None = None
    """``package.module:attribute``: a driver, or a function that makes one of the store's URL."""

    def driver(self, url: str) -> Driver:
        """The driver that was asked for; one without controls if none was. Raises ``ConfigError``."""
        from leasehold.conformance.driver import Driver

        if self.attribute is None:
            return Driver()
        found = _imported(self.attribute)
        if callable(found) and not isinstance(found, Driver):
            found = _call(found, url, self.attribute)
        if not isinstance(found, Driver):
            raise ConfigError(
                f"--driver {self.attribute} names a {type(found).__name__}: it has to be a "
                "leasehold.conformance.Driver, or a function that takes the store's URL and returns one"
            )
        return found


def driver_options(function: F) -> F:
    """Decorate a command with the options; it gets them as ``controls``."""

    def remember(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        return Controls(attribute=value)

    option = click.option(
        "--driver",
        "controls",
        metavar="MODULE:NAME",
        callback=remember,
        help="A leasehold.conformance.Driver, or a function that makes one of the URL: what may be done to the server.",
    )
    return option(function)


def _imported(text: str) -> object:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"--driver {text}: it has the form package.module:attribute")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` would: the author's module is beside, not installed
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"--driver {text} can't be imported: {exc}") from exc
    return found


def _call(function: Callable[[str], object], url: str, text: str) -> object:
    try:
        return function(url)
    except LeaseholdError:
        raise
    except Exception as exc:
        raise ConfigError(f"--driver {text} failed: {type(exc).__name__}: {exc}") from exc
