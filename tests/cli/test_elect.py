"""`tenure elect`: the command runs while its candidate leads."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

import tenure
from tenure.cli.ui.errors import LOST, NOT_ACQUIRED

from .processes import Command

SCRIPT = "echo up $TENURE_TOKEN $TENURE_TOKEN_NAME; exec sleep 1000"


@pytest.fixture
def store(file_url: str) -> Iterator[tenure.Store]:
    with tenure.connect(file_url) as opened:
        yield opened


def elect(url: str, candidate: str, *command: str, options: tuple[str, ...] = ()) -> Command:
    arguments = ("elect", "scheduler", "--candidate", candidate, "--ttl", "4", *options)
    return Command(*arguments, "--", *command, url=url)


def test_a_successor_leads_when_the_command_has_ended(file_url: str, store: tenure.Store) -> None:
    election = tenure.Election(store, "scheduler")
    with elect(file_url, "a", "sh", "-c", SCRIPT, options=("--data", "10.0.0.1:80")) as first:
        _, token, name = first.out.with_text("up").split()
        leader = election.leader()
        assert leader == tenure.Leader("a", int(token), "10.0.0.1:80")
        assert name == "scheduler"
        with elect(file_url, "b", "sh", "-c", SCRIPT) as second:
            second.err.with_text("waiting for the election")
            first.signal(signal.SIGINT)
            assert first.wait() == 128 + signal.SIGINT
            assert int(second.out.with_text("up").split()[1]) > int(token)
            second.signal(signal.SIGTERM)
            assert second.wait() == 128 + signal.SIGTERM
    assert election.leader() is None
    assert not store.list("tenure/").items


def test_a_leader_that_is_stopped_is_killed_before_a_successor_leads(file_url: str, store: tenure.Store) -> None:
    with elect(file_url, "a", "sh", "-c", SCRIPT) as first:
        first.out.with_text("up")
        first.signal(signal.SIGSTOP)
        with tenure.Election(store, "scheduler").lead(timeout=30):
            first.signal(signal.SIGCONT)
            assert first.wait() == LOST


def test_no_term_in_time_is_told_by_the_exit_code(file_url: str, store: tenure.Store) -> None:
    election = tenure.Election(store, "scheduler", candidate="me")
    with election.lead(), elect(file_url, "a", "true", options=("--wait", "0.2", "--json")) as late:
        late.err.record(type="not-acquired")
        assert late.wait() == NOT_ACQUIRED
        leader = election.leader()
        assert leader is not None
        assert leader.candidate == "me"
