"""A right store is condemned by none of the rules that measure time, however slow its commits are."""

from __future__ import annotations

import threading
import time

import pytest

from tenure.conformance.harness.verdicts import Verdict
from tenure.conformance.runner.runner import Plan, run
from tenure.spi import CommitResult, Transaction

from .mutants.base import standing
from .mutants.controls import Durable

RUN_OF_LEASES = ("leases.never_end*", "leases.left_alone*", "leases.ending*", "leases.are_extended*")
RUN_OF_LEASES += ("leases.kept_alive*", "leases.leave_what*", "leases.lost_are*")
RUN_OF_LOCKS = ("recipes.guards_refuse_expired*", "recipes.a_dead_waiter*", "recipes.loss*", "recipes.leaders*")


class SlowCommits(Durable):
    """Right; a commit takes a tenth of a second, and one follows the other."""

    turn = threading.Lock()

    def commit(self, transaction: Transaction, *, timeout: float) -> CommitResult:
        with self.turn:
            time.sleep(0.1)
            return self.inner.commit(transaction, timeout=timeout)


@pytest.mark.parametrize("rules", [RUN_OF_LEASES, RUN_OF_LOCKS], ids=["leases", "locks"])
def test_slow_commits_break_no_rule_about_time(rules):
    with standing(SlowCommits) as (url, controls):
        found = run(Plan(url=url, controls=controls, rules=rules))
    assert {result.verdict.verdict for result in found.results} == {Verdict.PASS}, [
        result.verdict.reason for result in found.results
    ]
