"""Realistic faults of the real backends and of core, as patches: the second family of mutants.

``tests/conformance/run_real_mutants.py`` tries each on a server of its store; ``model`` says what a mutant is.
"""

from __future__ import annotations

from . import consul, core, etcd, memory, postgresql, recipes, redis, sqlite, zookeeper
from .model import ROOT, SOURCES, Kind, RealMutant, copy_sources

REAL_MUTANTS: tuple[RealMutant, ...] = (
    *memory.MUTANTS,
    *sqlite.MUTANTS,
    *core.MUTANTS,
    *recipes.MUTANTS,
    *redis.MUTANTS,
    *etcd.MUTANTS,
    *postgresql.MUTANTS,
    *zookeeper.MUTANTS,
    *consul.MUTANTS,
)
"""All of them, those first whose servers are started in no time."""

__all__ = ["REAL_MUTANTS", "ROOT", "SOURCES", "Kind", "RealMutant", "copy_sources"]
