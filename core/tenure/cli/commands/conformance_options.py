"""The options by which ``tenure conformance`` is told what it may do to the server, so that fault rules run too."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from tenure.errors import ConfigError, TenureError

if TYPE_CHECKING:
    from tenure.conformance.controls.controls import Driver

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Controls:
    """What the options say."""

    attribute: str | None = None
    """``package.module:attribute``: a driver, or a function that makes one of the store's URL."""
    container: str | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    """Shell commands by the names of the controls."""

    def driver(self, url: str) -> Driver:
        """The driver that was asked for; one without controls if none was. Raises ``ConfigError``.

        Where a control is given twice, a command goes before the container's, and that before the attribute's.
        """
        from tenure.conformance.controls import ready_made
        from tenure.conformance.controls.controls import CONTROLS, Driver

        parts = [Driver() if self.attribute is None else _made(self.attribute, url)]
        if self.container is not None:
            parts.append(ready_made.for_container(self.container, url))
        if self.commands:
            parts.append(ready_made.from_commands(self.commands, url=url))
        given = {name: getattr(part, name) for part in parts for name in CONTROLS if part.offers(name)}
        return Driver(**given)


def driver_options(function: F) -> F:
    """Decorate a command with the options; it gets them as ``controls``."""
    from tenure.conformance.controls.controls import CONTROLS

    @functools.wraps(function)
    def call(*args: Any, driver: str | None, container: str | None, **others: Any) -> object:
        given = {name: others.pop(f"control_{name}") for name in CONTROLS}
        commands = {name: command for name, command in given.items() if command is not None}
        return function(*args, controls=Controls(driver, container, commands), **others)

    options = [
        click.option("--container", metavar="NAME", help="The server runs in this Docker container: kill, pause, ..."),
        *(
            click.option(f"--{name.replace('_', '-')}", f"control_{name}", metavar="COMMAND", help=_HELP.get(name, ""))
            for name in CONTROLS
        ),
        click.option("--driver", metavar="MODULE:NAME", help="A Driver, or a function that makes one of the URL."),
    ]
    decorated: Any = call
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)


_HELP = {
    "kill": "Ends the server as by kill -9.",
    "start": "Starts it again.",
    "cut": "Breaks all connections.",
    "compact": "Makes it forget its history.",
    "pause": "Freezes it.",
    "resume": "Lets it go on.",
    "partition": "Lets nothing through, closes nothing.",
    "heal": "Lets everything through again.",
    "kill_leader": "Ends the leader of several.",
    "fill_disk": "Takes all room on its disk.",
    "free_disk": "Gives it back.",
}


def _made(attribute: str, url: str) -> Driver:
    from tenure.conformance.controls.controls import Driver

    found = _imported(attribute)
    if callable(found) and not isinstance(found, Driver):
        found = _call(found, url, attribute)
    if not isinstance(found, Driver):
        raise ConfigError(
            f"--driver {attribute} names a {type(found).__name__}: it has to be a "
            "tenure.conformance.Driver, or a function that takes the store's URL and returns one"
        )
    return found


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
    except TenureError:
        raise
    except Exception as exc:
        raise ConfigError(f"--driver {text} failed: {type(exc).__name__}: {exc}") from exc
