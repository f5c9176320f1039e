"""A proxy between client and agent drops, changes or replaces answers: told, and never taken for Consul's."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tenure
from tenure.errors import OutcomeUnknown, TenureError, Unavailable
from tenure_testkit.waiting import until

Answer = tuple[int, dict[str, str], bytes]


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on, and gives back what ``change`` makes of the answers."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.change: Callable[[Answer], Answer] | None = None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        asked = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=600)
        try:
            asked.request(self.command, self.path, body, sent)
            said = asked.getresponse()
            answer = said.status, dict(said.getheaders()), said.read()
        except OSError:
            self.close_connection = True
            return
        finally:
            asked.close()
        status, headers, content = answer if self.server.change is None else self.server.change(answer)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_DELETE = _pass_on  # noqa: N815 - the standard library's names


@pytest.fixture
def proxy(consul_own_url: str) -> Iterator[Proxy]:
    port = int(
        consul_own_url.partition("//")[2].rpartition("@")[2].partition("/")[0].partition("?")[0].rpartition(":")[2]
    )
    proxy = Proxy(port)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    yield proxy
    proxy.shutdown()
    thread.join()
    proxy.server_close()


def index(value: str | None) -> Callable[[Answer], Answer]:
    def change(answer: Answer) -> Answer:
        status, headers, body = answer
        kept = {name: text for name, text in headers.items() if name != "X-Consul-Index"}
        if value is not None and "X-Consul-Index" in headers:
            kept["X-Consul-Index"] = value
        return status, kept, body

    return change


def body(text: bytes, status: int | None = None) -> Callable[[Answer], Answer]:
    return lambda answer: (status or answer[0], answer[1], text)


CHANGES = {
    "no index": index(None),
    "index that went back": index("1"),
    "index that is text": index("abc"),
    "index that is too large": index(str(2**70)),
    "a page": body(b"<html>log in</html>"),
    "nothing": body(b""),
    "null": body(b"null"),
    "an object": body(b'{"a": 1}'),
    "a redirect": body(b"", 307),
    "an error of the proxy": body(b"<html>bad gateway</html>", 502),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_something_between_answers_is_told_and_the_watch_goes_on_afterwards(
    proxy: Proxy, consul_own_url: str, name: str
) -> None:
    between = consul_own_url.replace(f":{proxy.target}", f":{proxy.server_port}")
    seen: dict[str, bytes] = {}
    with tenure.connect(consul_own_url) as direct, tenure.connect(between) as store, store.watch("") as watch:
        for key in ("a", "b"):
            direct.put(key, b"1")
        follow(watch, seen, until_seen={"a": b"1", "b": b"1"})
        proxy.change = CHANGES[name]
        direct.put("a", b"2")
        direct.delete("b")
        until(lambda: watch.next(timeout=0.05) is None and watch.outage is not None, what="the watch tells its outage")
        assert isinstance(watch.outage, Unavailable)
        said = failure(lambda: store.list("", timeout=0.5))
        assert isinstance(said, Unavailable), said
        if name in {"a page", "nothing", "null", "an object"}:
            said = failure(lambda: store.put("c", b"1", timeout=0.5))
            assert isinstance(said, OutcomeUnknown), said
        proxy.change = None
        direct.delete("c")
        follow(watch, seen, until_seen={"a": b"2"})


def failure(call: Callable[[], Any]) -> TenureError:
    with pytest.raises(TenureError) as caught:
        call()
    return caught.value


def follow(watch: tenure.Watch, seen: dict[str, bytes], until_seen: dict[str, bytes]) -> None:
    def next_state() -> bool:
        batch = watch.next(timeout=0.2)
        for event in batch.events if batch is not None else ():
            if event.item is None or event.type.value == "delete":
                seen.pop(event.key, None)
            else:
                seen[event.key] = event.item.value
        return seen == until_seen

    until(next_state, what=f"the watch has told {until_seen}")


def test_a_lease_that_a_starting_server_has_not_yet_is_not_lost(opened, consul_own_url: str, proxy: Proxy) -> None:
    """A server that was just started renews before it has read all its data: a session that is missing isn't lost."""
    backend = opened(consul_own_url.replace(f":{proxy.target}", f":{proxy.server_port}"))
    lease = backend.grant(30, timeout=5).lease_id
    asked: list[int] = []

    def missing_at_first(answer: Answer) -> Answer:
        asked.append(answer[0])
        return (404, answer[1], b"Session id not found") if len(asked) == 1 else answer

    proxy.change = missing_at_first
    assert backend.refresh([lease], timeout=5) == {lease: 30.0}
    assert asked == [200, 200, 200]
    backend.revoke([lease], timeout=5)
    assert backend.refresh([lease], timeout=5) == {}
