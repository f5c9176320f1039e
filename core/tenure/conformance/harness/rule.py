"""What a rule of the suite is, and how a class collects its rules.

A rule is a method ``test_<area>_<name>`` of a class of rules. Its docstring states the guarantee in one sentence, and
its id is ``<area>.<name>``. The method takes one argument, the :class:`~.context.RuleContext` that it may use, and
raises if the store breaks the guarantee. So a rule runs under pytest, and without it.

A rule without a mark is core: every store has to keep it. A mark states what else a rule needs:

* ``@requires_capability("lossless_watch")``: the guarantee is optional. The rule is reported as *not supported* for a
  store that doesn't declare it. Another rule, a core one, checks that such a store refuses the operation.
* ``@requires_control("kill", "start")``: the rule needs these controls over the server, see
  :mod:`tenure.conformance.controls.controls`.
* ``@of_face("sync", because="...")``: the rule is about one of the interfaces, the *faces*, and isn't tried through
  another.
* ``@parallel_safe``: the rule mostly waits, so other such rules may run beside it.

A subclass of the suite can't replace or drop a rule: Python raises ``TypeError`` when the class is defined.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from tenure.conformance.controls.controls import CONTROLS, NETWORK, ServerControls
from tenure.spi import Capabilities, Guarantee, field_notes

F = TypeVar("F", bound=Callable[..., None])

_CAPABILITIES = "_tenure_required_capabilities"
_CONTROLS = "_tenure_required_controls"
_PARALLEL_SAFE = "_tenure_parallel_safe"
_FACE = "_tenure_face"

SYNC, AIO = "sync", "aio"
"""The faces of a store: the synchronous interface, and the one for asyncio."""


def requires_capability(*names: str) -> Callable[[F], F]:
    """Mark a rule that applies only if the store declares all these guarantees of ``Capabilities``."""
    for name in names:
        if not isinstance(field_notes().get(name), Guarantee):
            raise TypeError(f"@requires_capability({name!r}): Capabilities has no guarantee of that name")

    def mark(function: F) -> F:
        setattr(function, _CAPABILITIES, names)
        return function

    return mark


def requires_control(*names: str) -> Callable[[F], F]:
    """Mark a rule that needs all these controls over the server, or that acts on the ``"network"``."""
    for name in names:
        if name not in CONTROLS and name != NETWORK:
            raise TypeError(f"@requires_control({name!r}): no such control; choose from: {', '.join(CONTROLS)}")

    def mark(function: F) -> F:
        setattr(function, _CONTROLS, names)
        return function

    return mark


def of_face(name: str, *, because: str) -> Callable[[F], F]:
    """Mark a rule that is about one face. ``because`` goes on after "not applicable to the face ...: "."""
    if name not in (SYNC, AIO):
        raise TypeError(f"@of_face({name!r}): no such face; choose from: {SYNC}, {AIO}")

    def mark(function: F) -> F:
        setattr(function, _FACE, (name, because))
        return function

    return mark


def parallel_safe(function: F) -> F:
    """Mark a rule that mostly waits, for example for a lease to expire, and injects no fault into the server.

    The runner lets such rules wait side by side, since the leases of some stores take long. A rule that acts on the
    network gets a network of its own. Don't mark a rule that inspects the shared run of another marked rule
    (``RuleContext.run_once``).
    """
    setattr(function, _PARALLEL_SAFE, True)
    return function


@dataclass(frozen=True, slots=True)
class Rule:
    """One guarantee, and the method that checks it."""

    id: str
    area: str
    method: str
    guarantee: str
    function: Callable[..., None]
    required_capabilities: tuple[str, ...] = ()
    required_controls: tuple[str, ...] = ()
    parallel_safe: bool = False
    face: str | None = None
    """The only face that the rule is about; ``None``: it is tried through each."""
    because: str = ""
    """Why it isn't about others."""

    @property
    def core(self) -> bool:
        """Whether every store has to keep the rule, whatever it declares."""
        return not self.required_capabilities

    def skip_reason(
        self, capabilities: Capabilities, controls: ServerControls, *, network: bool = False, face: str = SYNC
    ) -> str | None:
        """Return why the rule doesn't apply to this store, these controls and this face; ``None`` if it applies.

        ``network`` tells whether the suite's proxy runs between client and server.
        """
        if self.face not in (None, face):
            return f"not applicable to the face {face}: {self.because}"
        undeclared = [name for name in self.required_capabilities if not getattr(capabilities, name)]
        if undeclared:
            return f"not supported: the store declares {', '.join(f'{name}=False' for name in undeclared)}"
        if NETWORK in self.required_controls and not network:
            return "not supported: the URL names no host and port, so there is no connection to disturb"
        absent = [name for name in self.required_controls if name != NETWORK and not controls.offers(name)]
        if absent:
            return f"not checked: the controls lack {', '.join(absent)} (see tenure.conformance.ServerControls)"
        return None


class Rules:
    """Base of the classes of rules, one for each area (``class KvRules(Rules, area="kv")``), and of the suite."""

    own_rules: ClassVar[tuple[Rule, ...]] = ()

    def __init_subclass__(
        cls, *, area: str | None = None, face: tuple[str, str] | None = None, **arguments: Any
    ) -> None:
        """``face``: the only face that all rules are about, and why, as for :func:`of_face`."""
        super().__init_subclass__(**arguments)
        _refuse_overrides(cls)
        cls.own_rules = ()
        if area is not None:
            cls.own_rules = tuple(
                _rule(area, name, function, face) for name, function in vars(cls).items() if name.startswith("test_")
            )


def catalogue(suite: type[Rules]) -> dict[str, Rule]:
    """Return all rules of a suite by method name, area by area."""
    return {rule.method: rule for part in reversed(suite.__mro__) for rule in vars(part).get("own_rules", ())}


def _rule(area: str, name: str, function: Callable[..., None], about: tuple[str, str] | None) -> Rule:
    start = f"test_{area}_"
    if not name.startswith(start):
        raise TypeError(f"{name}: rules of the area {area!r} are named {start}...; rename the method")
    guarantee = " ".join((inspect.getdoc(function) or "").split())
    if not guarantee:
        raise TypeError(f"{name} has no docstring; state the guarantee that the rule checks there, in one sentence")
    face, because = getattr(function, _FACE, about or (None, ""))
    return Rule(
        id=f"{area}.{name.removeprefix(start)}",
        area=area,
        method=name,
        guarantee=guarantee,
        function=function,
        required_capabilities=getattr(function, _CAPABILITIES, ()),
        required_controls=getattr(function, _CONTROLS, ()),
        parallel_safe=_is_parallel_safe(name, function),
        face=face,
        because=because,
    )


def _is_parallel_safe(name: str, function: Callable[..., None]) -> bool:
    marked = bool(getattr(function, _PARALLEL_SAFE, False))
    if marked and {*getattr(function, _CONTROLS, ())} - {NETWORK}:
        raise TypeError(f"{name} injects a fault into the server, so no rule can run beside it; drop @parallel_safe")
    return marked


def _refuse_overrides(cls: type[Rules]) -> None:
    for rule in catalogue(cls).values():
        if inspect.getattr_static(cls, rule.method) is not rule.function:
            raise TypeError(
                f"{cls.__qualname__} replaces or drops {rule.method}, a rule of the conformance suite "
                f"({rule.guarantee}) If the store can't keep an optional guarantee, don't declare it in its "
                "capabilities; the other rules hold for every store. Give tests of your own other names"
            )
