"""The options that give ``tenure conformance`` controls over the server, so that the rules about faults run too."""

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
    from tenure.conformance.controls.controls import ServerControls

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """The values of the options."""

    attribute: str | None = None
    """``package.module:attribute``: ``ServerControls``, or a function from the store's URL to them."""
    container: str | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    """Shell commands by the names of the controls."""

    def server_controls(self, url: str) -> ServerControls:
        """Return the controls that the options give; they may be none. Raises ``ConfigError``.

        If a control is given twice, a command wins over the container, and the container over the attribute.
        """
        from tenure.conformance.controls import ready_made
        from tenure.conformance.controls.controls import CONTROLS, ServerControls

        parts = [ServerControls() if self.attribute is None else _made(self.attribute, url)]
        if self.container is not None:
            parts.append(ready_made.for_container(self.container, url))
        if self.commands:
            parts.append(ready_made.from_commands(self.commands, url=url))
        given = {name: getattr(part, name) for part in parts for name in CONTROLS if part.offers(name)}
        return ServerControls(**given)


def control_options(function: F) -> F:
    """Decorate a command with the options; it receives them as ``controls``."""
    from tenure.conformance.controls.controls import CONTROLS

    @functools.wraps(function)
    def call(*args: Any, controls: str | None, container: str | None, **others: Any) -> object:
        given = {name: others.pop(f"control_{name}") for name in CONTROLS}
        commands = {name: command for name, command in given.items() if command is not None}
        return function(*args, controls=ControlOptions(controls, container, commands), **others)

    options = [
        click.option("--container", metavar="NAME", help="Kill, start, pause and resume this Docker container."),
        *(
            click.option(f"--{name.replace('_', '-')}", f"control_{name}", metavar="COMMAND", help=_HELP.get(name, ""))
            for name in CONTROLS
        ),
        click.option("--controls", metavar="MODULE:NAME", help="ServerControls, or a function from the URL to them."),
    ]
    decorated: Any = call
    for option in reversed(options):
        decorated = option(decorated)
    return cast("F", decorated)


_HELP = {
    "kill": "Kill the server, as by kill -9.",
    "start": "Start it again.",
    "wipe": "Remove its data, while it is killed.",
    "cut": "Break all connections.",
    "compact": "Make it drop its history.",
    "pause": "Freeze its process.",
    "resume": "Let its process continue.",
    "partition": "Keep clients from reaching it, without closing connections.",
    "heal": "Let clients reach it again.",
    "kill_leader": "Kill the leader of several servers.",
    "fill_disk": "Fill its disk.",
    "free_disk": "Free the disk again.",
    "backup": "Keep its present data aside.",
    "restore": "Bring the data of the last backup back; while it is killed, if --kill is given.",
    "restrict": "Take away the right to read and write keys from the user of the URL.",
    "permit": "Give the right back.",
    "advance_clock": "Let its wall clock jump two minutes ahead.",
    "reset_clock": "Set its wall clock right again.",
}


def _made(attribute: str, url: str) -> ServerControls:
    from tenure.conformance.controls.controls import ServerControls

    found = _imported(attribute)
    if callable(found) and not isinstance(found, ServerControls):
        found = _call(found, url, attribute)
    if not isinstance(found, ServerControls):
        raise ConfigError(
            f"--controls {attribute}: it is a {type(found).__name__}; give a tenure.conformance.ServerControls, or a "
            "function that takes the store's URL and returns one"
        )
    return found


def _imported(text: str) -> object:
    module, colon, name = text.partition(":")
    if not (module and colon and name):
        raise ConfigError(f"--controls {text}: no attribute named; give it as package.module:attribute")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does: the author's module may lie in the current folder
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        raise ConfigError(f"--controls {text}: importing it failed: {exc}") from exc
    return found


def _call(function: Callable[[str], object], url: str, text: str) -> object:
    try:
        return function(url)
    except TenureError:
        raise
    except Exception as exc:
        raise ConfigError(f"--controls {text}: calling it failed: {type(exc).__name__}: {exc}") from exc
