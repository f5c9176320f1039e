"""What happens to the network of a store, the same for each: names that nobody answers for, hosts that fall silent.

A test gives a URL of a store on 127.0.0.1. The scenario goes through a relay of its own, so the server may be shared.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import tenure
from tenure._plugins import discovery
from tenure.errors import DeadlineExceeded, OutcomeUnknown, TenureError, Unavailable
from tenure.spi import Feed, WatchRequest
from tenure_testkit.probes.opening import open_url
from tenure_testkit.probes.recorder import Recorder
from tenure_testkit.probes.relay import Relay, TlsRelay
from tenure_testkit.servers.tls import Certificates
from tenure_testkit.waiting import PATIENCE, until

NAME = "store.test"
SHORT = 1.0
"""The timeout of a call that can't succeed, in seconds."""


class NameServer:
    """Stands for the name server of one name, which is this machine's. ``outage``: none, `fails` or `hangs`."""

    def __init__(self) -> None:
        self.outage = ""
        self._over = threading.Event()
        self._look_up = socket.getaddrinfo

    def ask(self, host: Any, *arguments: Any, **more: Any) -> Any:
        """In place of `socket.getaddrinfo`."""
        if host not in (NAME, NAME.encode()):
            return self._look_up(host, *arguments, **more)
        if self.outage == "hangs":
            self._over.wait()
        if self.outage:
            raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
        return self._look_up("127.0.0.1", *arguments, **more)

    def release(self) -> None:
        """Let go of everybody who waits."""
        self._over.set()


@contextmanager
def name_server() -> Iterator[NameServer]:
    """A name server for :data:`NAME`, and for as long as the block runs."""
    server = NameServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", server.ask)
        try:
            yield server
        finally:
            server.release()


def one_that_returns(call: Callable[[], object], within: float) -> TenureError | None:
    """The error of a call that has to end in time; the time is generous, since the alternative is to hang."""
    ended: list[TenureError | None] = []

    def run() -> None:
        try:
            call()
        except TenureError as exc:
            ended.append(exc)
        else:
            ended.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(within)
    assert ended, f"still not back after {within:g} s"
    return ended[0]


def port_of(url: str) -> int:
    """The port of a server on this machine."""
    [port] = re.findall(r"127\.0\.0\.1:(\d+)", url)
    return int(port)


def lives_on_without_a_name_server(url: str) -> None:
    """Leases are refreshed and granted, calls and watches go on, although connections broke and no name is found."""
    with name_server() as names, closing(Relay(port_of(url))) as relay:
        named = _elsewhere(url, f"{NAME}:{relay.port}")
        with tenure.connect(named, timeout=PATIENCE / 3) as store, store.watch("") as watch:
            lease = store.lease(PATIENCE / 3)
            for outage in ("fails", "hangs"):
                names.outage = outage
                assert relay.cut()
                revision = _put_again(store, "held", lease=lease)
                lease.refresh()
                store.lease(PATIENCE / 3).revoke()
                until(partial(_is_told, watch, revision), what=f"the watch goes on: {outage}")
            assert lease.alive


class _Leaving(Recorder):
    """Closes its feed as soon as it fails, as core does from another thread."""

    feed: Feed | None = None

    def fail(self, error: TenureError) -> None:
        super().fail(error)
        if self.feed is not None:
            self.feed.close()


def every_feed_is_told_of_a_break(url: str) -> None:
    """Feeds that share a connection all learn that it broke, although the first is closed before the next is told."""
    with closing(Relay(port_of(url))) as relay:
        elsewhere = _elsewhere(url, f"127.0.0.1:{relay.port}")
        with closing(open_url(discovery.find(url.partition(":")[0]), elsewhere, timeout=PATIENCE / 3)) as backend:
            sinks = [_Leaving() for _ in range(4)]
            for number, sink in enumerate(sinks):
                sink.feed = backend.watch(WatchRequest(prefix=f"{number}/"), sink=sink, timeout=PATIENCE / 3)
            for sink in sinks:
                until(partial(bool, sink.items), what="the feed began")
            relay.cut()
            for sink in sinks:
                assert isinstance(sink.error(), Unavailable)


def ends_in_time_when_answers_stop_after_a_byte(url: str) -> None:
    """Each call through a server that says one byte and then nothing ends with its timeout."""
    with (
        closing(Relay(port_of(url))) as relay,
        tenure.connect(_elsewhere(url, f"127.0.0.1:{relay.port}"), timeout=PATIENCE / 3) as store,
    ):
        store.put("key", b"")
        calls: list[Callable[..., object]] = [partial(store.get, "key"), partial(store.put, "key", b"")]
        for call in calls:
            relay.stop_after_a_byte(True)
            error = one_that_returns(partial(call, timeout=SHORT), 10 * SHORT)
            assert isinstance(error, Unavailable | DeadlineExceeded | OutcomeUnknown), error
            relay.stop_after_a_byte(False)
            relay.cut()
            _put_again(store, "key")


def takes_up_renewed_certificates(url: str, folder: Path, *, ask: bytes = b"", answer: bytes = b"") -> None:
    """A store goes on when its authority and its certificate are replaced on the disk, and the server's as well.

    ``ask`` and ``answer``: what the client says before TLS begins, and what it is told then.
    """
    old, new = (Certificates.make(_made(folder / name)) for name in ("old", "new"))
    used = _made(folder / "used")
    paths = {"ca": used / "ca.pem", "cert": used / "client.pem", "key": used / "client.key"}

    def use(certificates: Certificates) -> None:
        for path in (certificates.ca, certificates.client_cert, certificates.client_key):
            shutil.copy(path, used / "next")
            (used / "next").chmod(0o600)
            (used / "next").rename(used / path.name)

    use(old)
    with closing(TlsRelay(port_of(url), _of_server(old), ask=ask, answer=answer)) as relay:
        scheme, _, rest = _elsewhere(url, f"127.0.0.1:{relay.port}").partition("://")
        options = urlencode({name: str(path) for name, path in paths.items()}, safe="/")
        encrypted = f"{scheme}+tls://{rest}{'&' if '?' in rest else '?'}{options}"
        with tenure.connect(encrypted, timeout=PATIENCE / 3) as store, store.watch("") as watch:
            lease = store.lease(PATIENCE / 3)
            store.put("held", b"", lease=lease)
            relay.context = _of_server(new)
            assert relay.cut()
            with pytest.raises((Unavailable, DeadlineExceeded, OutcomeUnknown)):
                store.put("refused", b"", timeout=SHORT)
            use(new)
            revision = _put_again(store, "after")
            until(partial(_is_told, watch, revision), what="the watch goes on")
            lease.refresh()


def _of_server(certificates: Certificates) -> ssl.SSLContext:
    """Shows the server's certificate, and wants one of the client that the same authority made."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _elsewhere(url: str, host: str) -> str:
    return url.replace(f"127.0.0.1:{port_of(url)}", host)


def _put_again(store: tenure.Store, key: str, lease: tenure.Lease | None = None) -> int:
    """The revision of a put, which may have to find out first that its connection is gone."""
    while True:
        try:
            return store.put(key, b"", lease=lease).revision
        except OutcomeUnknown:
            continue


def _is_told(watch: tenure.Watch, revision: int) -> bool:
    watch.next(0.1)
    return watch.revision is not None and watch.revision >= revision
