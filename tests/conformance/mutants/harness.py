"""Mutants of the harness: no guarantee is broken here, but what a verdict rests on.

What has to come out is a conclusion. Where faults do nothing, nothing may be said of any rule, for or against.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from unittest.mock import patch

import tenure_memory
from tenure.conformance import ServerControls
from tenure.conformance.controls.controls import CONTROLS
from tenure.conformance.harness.verdicts import Conclusion
from tenure.conformance.network import Network
from tenure.errors import Unsupported
from tenure.spi import Capabilities, Guarantee, field_notes
from tenure_testkit.tcp import TcpServer

from .base import Breakable, Faithful
from .controls import Durable
from .tcp import Networked


class Harness(Breakable):
    """What a trial needs to know too."""

    tried: ClassVar[tuple[str, ...]]
    """Patterns of the rules to try."""
    expected: ClassVar[Conclusion]


class RefusesAll(Harness, Faithful):
    """Declares everything and refuses everything."""

    tried = ("kv.*", "transactions.*", "leases.*", "watches.*")
    expected = Conclusion.NOT_CONFORMANT

    def _refuse(self, *_: object, **__: object) -> Any:
        raise Unsupported("this store can't do that")

    get = list = commit = grant = refresh = revoke = leases = watch = _refuse


class DeclaresNothing(Harness, Faithful):
    """Keeps every guarantee and declares none."""

    tried = ("*",)
    expected = Conclusion.NOT_CONFORMANT

    @property
    def capabilities(self) -> Capabilities:
        guarantees = {name: False for name, note in field_notes().items() if isinstance(note, Guarantee)}
        return dataclasses.replace(self.inner.capabilities, **guarantees)


class IdleNetwork(Harness, Networked):
    """Stands between client and server and has no effect there, whatever it is told to do."""

    tried = ("faults.*", "restarts.*", "spi.feeds_fail_once_when_cut", "recipes.lost_answers_are_cleared_up")
    expected = Conclusion.INCONCLUSIVE

    @classmethod
    def bent(cls) -> AbstractContextManager[object]:
        sound = Network.in_front_of
        return patch.object(Network, "in_front_of", lambda url: sound(url, enabled=False))

    @classmethod
    def controls(cls, server: TcpServer) -> ServerControls:
        return ServerControls()


class IdleControls(Harness, Durable):
    """Offers every control, none of which does anything."""

    # Not that feeds fail once when they are cut: nobody but the feed could tell that this cut nothing.
    tried = ("faults.*", "restarts.*")
    expected = Conclusion.INCONCLUSIVE

    @classmethod
    def controls(cls, server: tenure_memory.MemoryServer) -> ServerControls:
        return ServerControls(**dict.fromkeys(CONTROLS, _idle))


def _idle() -> None:
    pass


HARNESS: tuple[type[Harness], ...] = (RefusesAll, DeclaresNothing, IdleNetwork, IdleControls)
