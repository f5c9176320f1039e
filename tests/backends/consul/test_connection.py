"""One exchange with an agent, whose answer is written in advance."""

from __future__ import annotations

import http.client
import socket

import pytest

from tenure.plugin_kit import Deadline
from tenure.spi import Host
from tenure_consul.connection import Connection


def test_an_interrupt_while_an_answer_is_put_away_gets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is raised while the interpreter finalizes a file is dropped, so no answer is left to it."""
    put_away = http.client.HTTPResponse.close

    def interrupted(answer: http.client.HTTPResponse) -> None:
        put_away(answer)
        raise KeyboardInterrupt

    monkeypatch.setattr(http.client.HTTPResponse, "close", interrupted)
    ours, agent = socket.socketpair()
    with ours, agent:
        agent.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        connection = Connection(Host("127.0.0.1", 8500), ours, "", login=None)
        with pytest.raises(KeyboardInterrupt):
            connection.exchange("GET", "/v1/status/leader", None, Deadline(5.0))
