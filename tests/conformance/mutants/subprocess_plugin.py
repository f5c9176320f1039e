"""The mutant in another process than the trial's: the module of its entry point there, bent for good."""

from __future__ import annotations

import os

from tenure.hookspecs import hookimpl
from tenure.spi import BackendPlugin

from . import CONTROLS, MUTANTS
from .base import scheme_of
from .tcp import MUTANT

(_mutant,) = (each for each in (*MUTANTS, *CONTROLS) if each.__name__ == os.environ[MUTANT])
_mutant.bent().__enter__()


@hookimpl
def tenure_backend() -> BackendPlugin:
    return _mutant.plugin(scheme_of(_mutant))
