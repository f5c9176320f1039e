"""What a rule of the suite is, the catalogue of them, and the guard that keeps them whole.

A rule is a method ``test_<area>_<name>`` of a class of rules; its docstring is the promise in one sentence, its
id is ``<area>.<name>``. It takes one argument, the :class:`~.context.World` it may act in, and
raises when the promise isn't kept. So a rule runs under pytest, and just as well without it.

Rules without a mark are core: every store has to keep them. A mark says what else a rule needs:

* ``@requires("lossless_watch")``: the promise is optional. A store that doesn't declare it is reported as *not
  supported*, with the reason; that the operations in question are then refused is a core rule of its own.
* ``@needs("kill", "start")``: somebody has to do something to the server, see ``tenure.conformance.controls.controls``.
* ``@patient``: it mostly waits, and others may run beside it.

A subclass of the suite can't replace or drop a rule: that is an error when the class is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from tenure.conformance.controls.controls import CONTROLS, NETWORK, Driver
from tenure.spi import Capabilities, Guarantee, field_notes

F = TypeVar("F", bound=Callable[..., None])

_REQUIRES = "_tenure_requires"
_NEEDS = "_tenure_needs"
_PATIENT = "_tenure_patient"


def requires(*promises: str) -> Callable[[F], F]:
    """Mark a rule that holds only where all these promises of ``Capabilities`` are declared."""
    for name in promises:
        if not isinstance(field_notes().get(name), Guarantee):
            raise TypeError(f"@requires({name!r}): Capabilities has no promise of that name")

    def mark(function: F) -> F:
        setattr(function, _REQUIRES, promises)
        return function

    return mark


def needs(*controls: str) -> Callable[[F], F]:
    """Mark a rule for which the driver has to offer all these controls, or that acts on the ``"network"``."""
    for name in controls:
        if name not in CONTROLS and name != NETWORK:
            raise TypeError(f"@needs({name!r}): a Driver has no such control, it has {', '.join(CONTROLS)}")

    def mark(function: F) -> F:
        setattr(function, _NEEDS, controls)
        return function

    return mark


def patient(function: F) -> F:
    """Mark a rule that mostly waits, for a lease to end, say, and does no harm to the server.

    The runner lets them wait side by side, since some stores' leases take long; one that acts on the network gets
    a way to the server of its own. Mark none that looks at the experiment of another such rule (``World.once``).
    """
    setattr(function, _PATIENT, True)
    return function


@dataclass(frozen=True, slots=True)
class Rule:
    """One promise and the method that checks it."""

    id: str
    area: str
    method: str
    promise: str
    function: Callable[..., None]
    requires: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    patient: bool = False

    @property
    def core(self) -> bool:
        """Whether every store has to keep it, whatever it declares."""
        return not self.requires

    def why_not(self, capabilities: Capabilities, driver: Driver, *, network: bool = False) -> str | None:
        """Why the rule doesn't apply to this store and driver; ``None`` if it does.

        ``network`` says whether the suite stands between client and server.
        """
        undeclared = [name for name in self.requires if not getattr(capabilities, name)]
        if undeclared:
            return f"not supported: the store declares {', '.join(f'{name}=False' for name in undeclared)}"
        if NETWORK in self.needs and not network:
            return "not supported: the store isn't reached by host and port, so there is no connection to harm"
        absent = [name for name in self.needs if name != NETWORK and not driver.offers(name)]
        if absent:
            return f"not checked: the driver offers no {', '.join(absent)} (see tenure.conformance.Driver)"
        return None


class Rules:
    """Base of the classes of rules, one for each area (``class KvRules(Rules, area="kv")``), and of the suite."""

    own_rules: ClassVar[tuple[Rule, ...]] = ()

    def __init_subclass__(cls, *, area: str | None = None, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        _refuse_overrides(cls)
        cls.own_rules = ()
        if area is not None:
            cls.own_rules = tuple(
                _rule(area, name, function) for name, function in vars(cls).items() if name.startswith("test_")
            )


def catalogue(suite: type[Rules]) -> dict[str, Rule]:
    """All rules of a suite by method name, area by area."""
    return {rule.method: rule for part in reversed(suite.__mro__) for rule in vars(part).get("own_rules", ())}


def _rule(area: str, name: str, function: Callable[..., None]) -> Rule:
    start = f"test_{area}_"
    if not name.startswith(start):
        raise TypeError(f"rules of the area {area!r} are named {start}..., not {name}")
    promise = " ".join((inspect.getdoc(function) or "").split())
    if not promise:
        raise TypeError(f"{name} has no docstring: it is the promise that the rule checks, in one sentence")
    return Rule(
        id=f"{area}.{name.removeprefix(start)}",
        area=area,
        method=name,
        promise=promise,
        function=function,
        requires=getattr(function, _REQUIRES, ()),
        needs=getattr(function, _NEEDS, ()),
        patient=_waits(name, function),
    )


def _waits(name: str, function: Callable[..., None]) -> bool:
    found = bool(getattr(function, _PATIENT, False))
    if found and {*getattr(function, _NEEDS, ())} - {NETWORK}:
        raise TypeError(f"{name} does harm to the server, so nothing can run beside it: it is not @patient")
    return found


def _refuse_overrides(cls: type[Rules]) -> None:
    for rule in catalogue(cls).values():
        if inspect.getattr_static(cls, rule.method) is not rule.function:
            raise TypeError(
                f"{cls.__qualname__} replaces or drops {rule.method}, a rule of the conformance suite ({rule.promise}) "
                "A store that can't keep an optional promise doesn't declare it in its capabilities; the other rules "
                "hold for every store. Add tests of your own under other names"
            )
