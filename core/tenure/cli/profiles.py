"""The configuration file: profiles, each with a store's URL and with values for options of commands.

The file is TOML::

    profile = "dev"                  # the profile that is used when none is named

    [profiles.prod]
    url = "scheme://host/namespace"
    timeout = 2.0

    [profiles.prod.run]              # options of `tenure run`, by their long names
    heartbeat = 30.0

A value is looked for on the command line, then in the variable of the option, then in the profile. A profile that is
named on the command line is asked before the variables of the options that all commands have: somebody who writes
``--profile prod`` means that store, whatever ``TENURE_URL`` says.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenure._suggestions import meant
from tenure.errors import ConfigError

COMMON = ("url", "json", "timeout", "name")
"""Options that every command has; the other entries of a profile are tables for commands."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile of a file: ``common`` by option, ``commands`` by the command's name and then by option."""

    name: str
    path: Path
    common: Mapping[str, Any]
    commands: Mapping[str, Mapping[str, Any]]

    def __str__(self) -> str:
        return f"the profile {self.name!r} in {self.path}"

    @property
    def defaults(self) -> dict[str, Any]:
        """As click takes it: common options, and a table for each command."""
        return {**self.common, **self.commands}


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file that was read. ``default`` is the profile for those who name none."""

    path: Path
    default: str | None
    profiles: Mapping[str, Mapping[str, Any]]

    def profile(self, name: str) -> Profile:
        """Return a profile. Raises ``ConfigError`` if it isn't there, or has something that is no option."""
        table = self.profiles.get(name)
        if table is None:
            there = ", ".join(sorted(self.profiles)) or "none"
            raise ConfigError(f"no profile {name!r} in {self.path}{meant(name, self.profiles) or ';'} it has: {there}")
        commands = {key: _dashless(value) for key, value in table.items() if isinstance(value, dict)}
        common = {key: value for key, value in table.items() if key not in commands}
        for key in common:
            if key not in COMMON:
                raise ConfigError(
                    f"the profile {name!r} in {self.path}: {key!r} is no option of all commands"
                    f"{meant(key, COMMON) or ';'} those are {', '.join(COMMON)}; options of one command go into "
                    f"[profiles.{name}.COMMAND]"
                )
        return Profile(name, self.path, common, commands)


def default_path() -> Path:
    """Return where the file is looked for if none is named: ``tenure/config.toml`` in the user's settings folder."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "tenure" / "config.toml"


def read(path: str | None) -> ConfigFile:
    """Read the file at ``path``, or the user's own, which may be missing. Raises ``ConfigError``."""
    found = default_path() if path is None else Path(path)
    try:
        text = found.read_text(encoding="utf-8")
        import tomllib

        document = tomllib.loads(text)
    except FileNotFoundError:
        if path is None:
            return ConfigFile(found, None, {})
        raise ConfigError(f"reading the configuration file {found}: it isn't there; correct --config") from None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"reading the configuration file {found}: {exc}; correct the file") from exc
    for key in document:
        if key not in ("profile", "profiles"):
            raise ConfigError(
                f"the configuration file {found}: unknown entry {key!r}"
                f"{meant(key, ('profile', 'profiles')) or ';'} it has 'profile' and tables [profiles.NAME]"
            )
    default, profiles = document.get("profile"), document.get("profiles", {})
    if default is not None and not isinstance(default, str):
        raise ConfigError(f"the configuration file {found}: 'profile' is the name of a profile, not {default!r}")
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise ConfigError(f"the configuration file {found}: 'profiles' has tables [profiles.NAME], and nothing else")
    return ConfigFile(found, default, profiles)


def exposed_password(profile: Profile) -> bool:
    """Return whether the profile's URL has a password and others than the file's owner may read the file."""
    url = profile.common.get("url")
    user, at, _ = url.partition("@") if isinstance(url, str) else ("", "", "")
    if not at or ":" not in user.partition("://")[2]:
        return False
    try:
        return bool(profile.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def _dashless(table: Mapping[str, Any]) -> dict[str, Any]:
    """Option names as click has them: with an underscore where the command line has a dash."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found[key] = _dashless(value)
        else:
            found[key.replace("-", "_")] = value
    return found
