"""Connections that must first say that they lead to a primary, without a server."""

from __future__ import annotations

import socket
from contextlib import contextmanager

import pytest

from tenure.errors import Unavailable
from tenure.plugin_kit import Deadline
from tenure.spi import Host
from tenure_redis import scripts
from tenure_redis.connection import Connection
from tenure_redis.keys import Names
from tenure_redis.pool import Pool


class Mute:
    """Opens connections to a server that takes requests and answers none."""

    where = "a mute server"

    def __init__(self):
        self.ends = []

    def open(self, deadline):
        ours, theirs = socket.socketpair()
        self.ends.append(theirs)
        return Connection(Host("127.0.0.1", 6379), ours)


@contextmanager
def mute_pool():
    locator = Mute()
    pool = Pool(locator, Names.of("test"), history=10)
    try:
        yield pool
    finally:
        pool.close()
        for end in locator.ends:
            end.close()


def in_session(pool, deadline):
    with pool.session(deadline, "reading"):
        pass


CALLS = {
    "read": lambda pool, deadline: pool.read("GET", "a", deadline=deadline, action="reading"),
    "a script": lambda pool, deadline: pool.run(scripts.TICK, deadline=deadline, action="refreshing", write=True),
    "a write": lambda pool, deadline: pool.run_once(scripts.COMMIT, [], deadline=deadline, action="writing"),
    "several commands": in_session,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_a_server_that_does_not_say_whether_it_is_a_primary_is_unavailable(call):
    """Only the question was sent: also a write was certainly not applied."""
    with mute_pool() as pool, pytest.raises(Unavailable):
        call(pool, Deadline(0.2))


def test_a_connection_that_waits_for_an_answer_serves_no_other_caller():
    with mute_pool() as pool:
        connection = pool.locator.open(None)
        assert connection.reusable
        connection.begin("GET", "a", deadline=Deadline(5.0))
        assert not connection.reusable
        connection.close()
