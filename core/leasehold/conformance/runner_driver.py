"""The driver as the runner uses it: a control that fails says nothing about the store, and what it broke is mended."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from leasehold.conformance.driver import CONTROLS, Control, Driver

_MENDING = ("free_disk", "heal", "resume", "start")
"""Controls that undo what others did, in the order in which they are tried."""


class DriverFailed(Exception):
    """A control of the driver raised: what the rule wanted to try didn't happen."""


def guarded(driver: Driver) -> Driver:
    """``driver``, whose controls raise :class:`DriverFailed` whatever they raise themselves."""
    given = {name: getattr(driver, name) for name in CONTROLS if driver.offers(name)}
    return dataclasses.replace(driver, **{name: _guard(name, control) for name, control in given.items()})


def mend(driver: Driver) -> None:
    """After a rule that was stopped halfway: let the server run, as far as the driver can. Raises nothing."""
    for name in _MENDING:
        if driver.offers(name):
            with contextlib.suppress(Exception):
                driver.do(name)


def controls(driver: Driver) -> tuple[str, ...]:
    """Names of the controls that ``driver`` offers."""
    return tuple(name for name in CONTROLS if driver.offers(name))


def _guard(name: str, control: Control) -> Callable[[], object]:
    def do() -> object:
        try:
            return control()
        except Exception as exc:
            raise DriverFailed(f"the driver's {name} failed: {type(exc).__name__}: {exc}") from exc

    return do
