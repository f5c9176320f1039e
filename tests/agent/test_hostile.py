"""Programs that send garbage, stop in the middle, never read or come by the thousand harm nobody else."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure import BatchType
from tenure.agent import Limits, _wire, ask_status
from tenure.errors import Unavailable
from tenure.registry import Registry
from tenure.spi import Deleted, KeyValue
from tenure_testkit.waiting import PATIENCE, until

PREFIX = "/registry/default/"
HELLO = b"".join(_wire.message(0, _wire.NAME, 1))


def entry(number: int, size: int = 0) -> tuple[str, bytes]:
    meta = {"x": "y" * size}
    value = {"service_name": "web", "id": str(number), "host": "10.0.0.1", "host_name": "h", "port": 80, "meta": meta}
    return f"{PREFIX}web/{number}@10.0.0.1", json.dumps(value).encode()


ROGUES: list[Rogue] = []


@pytest.fixture(autouse=True)
def _closed_rogues() -> Iterator[None]:
    yield
    while ROGUES:
        ROGUES.pop().sock.close()


class Rogue:
    """A connection that sends what it is told to. Closed after the test."""

    def __init__(self, path: Path, data: bytes = b"") -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        ROGUES.append(self)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(os.fspath(path))
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def ended(self) -> bool:
        """Whether the agent has ended it, after what it sent."""
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(65536):
                pass
        return True

    def messages(self) -> list:
        """What the agent says until it ends the connection."""
        splitter, found = _wire.Splitter(_wire.MAX_MESSAGE), []
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                splitter.add(data)
                while (message := splitter.next()) is not None:
                    found.append(message)
        return found


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


GARBAGE = {
    "noise": os.urandom(4096),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "too long": struct.pack(">I", _wire.MAX_REQUEST + 1),
    "longest": b"\xff\xff\xff\xff",
    "no array": framed(b"{}"),
    "empty": framed(b""),
    "empty array": framed(b"[]"),
    "no hello": framed(b'[1,"list",{}]'),
    "other version": framed(b'[0,"tenure-agent",99]'),
    "deep": framed(b"[" * 60_000),
    "no utf-8": framed(b'["\xff"]'),
    "no action": HELLO + framed(b'[1,"conquer",{}]'),
    "no arguments": HELLO + framed(b'[1,"list",7]'),
    "number": HELLO + framed(b'[-1,"list",{}]'),
    "truth": HELLO + framed(b'[true,"list",{}]'),
    "no prefix": HELLO + framed(b'[1,"list",{"prefix":7}]'),
    "after": HELLO + framed(b'[1,"watch",{"prefix":"/registry/default/","after":"x"}]'),
    "limit": HELLO + framed(b'[1,"list",{"prefix":"/registry/default/","limit":-1}]'),
    "twice": HELLO + 2 * framed(b'[1,"watch",{"prefix":"/registry/default/"}]'),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_ends_its_connection_alone(started, opened, url, through, sock, what):  # noqa: PLR0917 - fixtures
    started()
    opened(url).put(*entry(1))
    with Registry(opened(through)) as registry:
        registry.wait_for("web", 1, PATIENCE)
        line = opened(through)._backend._link._line
        assert Rogue(sock, GARBAGE[what]).ended()
        opened(url).put(*entry(2))
        assert len(registry.wait_for("web", 2, PATIENCE)) == 2
        assert line.error is None
    assert ask_status(sock).entries == 2


def test_half_a_request_and_silence_end_in_time(started, sock):
    started(limits=Limits(introduction=0.5, ping=0.3))
    began = time.monotonic()
    halves = [Rogue(sock, data) for data in (b"", HELLO[:3], HELLO[:-1])]
    assert all(each.ended() for each in halves)
    assert time.monotonic() - began >= 0.4
    assert ask_status(sock).cut_off == 3


def test_an_older_program_is_told_what_to_update(started, sock):
    started()
    (said,) = Rogue(sock, GARBAGE["other version"]).messages()
    assert said[1] == "refused"
    assert "update the older" in said[3]


def test_a_thousand_connections_leave_room_for_others(started, opened, url, through, sock):
    """One process gets a few of them; the others are refused at once, and told why."""
    started(limits=Limits(per_process=20, connections=64, introduction=PATIENCE, ping=0.3))
    opened(url).put(*entry(1))
    program = opened(through)
    rogues = [Rogue(sock, HELLO) for _ in range(1000)]
    until(lambda: len(program.list(PREFIX)) == 1, what="the one that was there is served")
    refused = rogues[-1].messages()
    assert refused[0][1:3] == ["refused", "Unavailable"]
    assert "20 connections already" in refused[0][3]
    for each in rogues:
        each.sock.close()
    until(lambda: ask_status_or_none(sock), what="there is room again")
    assert ask_status(sock).refused >= 900


def ask_status_or_none(sock: Path):
    try:
        return ask_status(sock)
    except Unavailable:
        return None


def test_one_that_never_reads_costs_a_bound_and_delays_nobody(started, opened, url, through, sock):
    limits = Limits(waiting=200_000, stuck=PATIENCE, ping=0.3)
    agent = started(limits=limits)
    direct = opened(url)
    direct.put(*entry(0))
    until(lambda: agent.entries == 1, what="the agent follows")
    lazy = [Rogue(sock, HELLO + b"".join(_wire.message(1, "watch", {"prefix": PREFIX}))) for _ in range(5)]
    until(lambda: ask_status(sock).watches == 5, what="they watch")
    most = 0
    with Registry(opened(through)) as registry:
        for number in range(1, 300):
            direct.put(*entry(number, size=4000))
            most = max(most, *(each.waiting for each in tuple(agent._server.connections)))
        registry.wait_for("web", 300, PATIENCE)
        status = ask_status(sock)
    assert len(lazy) == 5
    assert status.overflows >= 5
    assert most <= limits.waiting + 64 * 1024


def test_one_that_reads_again_is_told_of_its_gap(started, opened, url, through, sock):
    started(limits=Limits(waiting=100_000, stuck=PATIENCE, ping=0.3))
    direct = opened(url)
    direct.put(*entry(0))
    program = opened(through)
    held = threading.Event()
    with program.watch(PREFIX) as watch:
        assert [watch.next(PATIENCE).type for _ in range(2)] == [BatchType.SNAPSHOT, BatchType.SYNCED]
        line = program._backend._link._line
        take = line._take

        def taken(message):
            held.wait(PATIENCE)
            take(message)

        line._take = taken
        number = 0
        while not ask_status(sock).overflows:
            number += 1
            direct.put(*entry(number, size=4000))
        held.set()
        seen = {entry(0)[0]}
        types = set()
        while len(seen) <= number:
            batch = watch.next(PATIENCE)
            types.add(batch.type)
            seen |= {event.key for event in batch.events}
        assert BatchType.RESYNC in types


def test_one_that_takes_nothing_is_cut_off(started, opened, url, sock):
    started(limits=Limits(stuck=0.5, ping=0.3))
    direct = opened(url)
    for number in range(100):
        direct.put(*entry(number, size=10_000))
    until(lambda: ask_status(sock).entries == 100, what="the agent has all")
    rogue = Rogue(sock, HELLO + b"".join(_wire.message(1, "watch", {"prefix": PREFIX})))
    until(lambda: ask_status(sock).cut_off == 1, what="it is cut off")
    assert rogue.ended()


def test_snapshots_that_nobody_reads_have_a_bound(started, opened, url, sock):
    agent = started(limits=Limits(stuck=PATIENCE, ping=0.3, snapshots=2_500_000))
    direct = opened(url)
    for number in range(100):
        direct.put(*entry(number, size=10_000))
    until(lambda: ask_status(sock).entries == 100, what="the agent has all")
    rogues = []
    for length in range(len(PREFIX), len(PREFIX) + 4):
        prefix = (PREFIX + "web/")[:length]
        asked = b"".join(b"".join(_wire.message(n, "list", {"prefix": prefix})) for n in range(1, 20))
        rogues += [Rogue(sock, HELLO + asked) for _ in range(3)]
    until(lambda: ask_status(sock).cut_off > 0, what="who kept others from their snapshots is cut off")
    until(lambda: agent._held.bytes <= 2_500_000, what="what waits is within the bound")
    until(lambda: ask_status(sock).entries == 100, what="it serves")
    assert all(each.waiting < 3_000_000 for each in tuple(agent._server.connections))
    for each in rogues:
        each.sock.close()


def test_an_agent_that_sends_garbage_harms_no_program(tmp_path):
    """Whoever listens there: the program gets an error in time, never a hang or another exception."""
    path = tmp_path / "fake.sock"
    answers = [b"", b"HTTP/1.1 400\r\n\r\n", b"\xff\xff\xff\xff", framed(b"[0]"), framed(b'[0,"tenure-agent",1,{}]')]
    answers += [framed(json.dumps([0, "tenure-agent", 1, {"pid": 1, "ping": 0}]).encode())]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(os.fspath(path))
        listener.listen()

        def answer() -> None:
            for data in answers:
                sock, _ = listener.accept()
                with sock:
                    sock.sendall(data)

        thread = threading.Thread(target=answer)
        thread.start()
        from tenure.errors import ConfigError

        for _ in answers:
            with pytest.raises((Unavailable, ConfigError)):
                ask_status(path, timeout=PATIENCE)
        thread.join(PATIENCE)


def test_an_agent_that_stops_in_the_middle_is_noticed(tmp_path, started, opened, url, through):
    agent = started()
    opened(url).put(*entry(1))
    with Registry(opened(through)) as registry:
        registry.wait_for("web", 1, PATIENCE)
        stopped = threading.Event()
        agent._server.call(lambda: stopped.wait(PATIENCE))
        try:
            until(lambda: registry.staleness > 0, what="the silence is noticed")
            assert len(registry.get_service("web")) == 1
            with pytest.raises(Unavailable):
                registry.store.list(PREFIX, timeout=0.3)
        finally:
            stopped.set()
        until(lambda: registry.staleness == 0.0, what="it follows again")


def test_entries_keep_their_bytes():
    odd = [
        KeyValue("a", b"\xff\x00", 1, 2),
        KeyValue("b", "ü\u2028".encode(), 3, 4, "lease"),
        KeyValue("c", b"", 5, 6),
        Deleted("d", 7),
    ]
    (group,) = _wire.groups(odd)
    assert _wire.entries(json.loads(group)) == odd


@pytest.mark.parametrize(
    "text",
    ['[["a"]]', "[7]", '[["a","b",1,2]]', '[["a",["%"],1,2,null]]', "7", '[["a",null,1,2,null]]', '[[1,"",1,1,""]]'],
)
def test_entries_that_are_none(text):
    with pytest.raises(_wire.Broken):
        _wire.entries(json.loads(text))
