"""A network whose faults do nothing, from the command's side; each rule that needs it is tried among the mutants."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from click.testing import CliRunner

from tenure.cli.app import cli
from tenure.conformance.controls.controls import ServerControls, with_network
from tenure.conformance.harness.rule import Rule
from tenure.conformance.network import Network
from tenure.conformance.runner.runner import all_rules
from tenure_testkit.tcp import capabilities

from .mutants.base import installed
from .mutants.harness import IdleNetwork
from .mutants.tcp import Networked

PART = ("--rule", "spi.feeds_fail_once_when_cut", "--rule", "faults.a_watch_notices_a_partition_in_time")


def on_the_network() -> list[Rule]:
    """The rules that apply to the toy store only because the suite stands between client and server."""
    able = with_network(ServerControls(), Network("nowhere://", ()))
    return [
        rule
        for rule in all_rules()
        if rule.skip_reason(capabilities(), ServerControls()) is not None
        and rule.skip_reason(capabilities(), able, network=True) is None
    ]


def test_each_rule_that_needs_the_network_is_tried_on_an_idle_one() -> None:
    rules = on_the_network()
    assert len(rules) >= 10
    assert [rule.id for rule in rules if not any(fnmatchcase(rule.id, each) for each in IdleNetwork.tried)] == []


@pytest.mark.parametrize(("store", "verdict", "code"), [(Networked, "pass", 0), (IdleNetwork, "inconclusive", 2)])
def test_the_command_knows_nothing_where_faults_do_nothing(store, verdict, code) -> None:
    with installed(store) as url:
        result = CliRunner().invoke(cli, ["conformance", url, *PART])
    assert result.exit_code == code, result.output
    verdicts = [line.split("\t")[0] for line in result.output.splitlines() if line.split("\t")[1:2] == [PART[1]]]
    assert verdicts == [verdict]
    assert result.output.count(f"{verdict}\t") >= 2
