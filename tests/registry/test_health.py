"""Health checks: an instance is registered once it is healthy, and drains while it isn't."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

import tenure
from tenure import aio
from tenure.errors import ConfigError, StoreClosed, Unhealthy
from tenure.registry import (
    CommandProbe,
    HealthCheck,
    HttpProbe,
    Instance,
    Part,
    Registry,
    RegistryConfig,
    Status,
    TcpProbe,
)
from tenure.registry.model.health import Tally
from tenure.registry.model.probes import parse_probe
from tenure_testkit.waiting import PATIENCE

QUICK = 0.01


class Switch:
    """A probe that says what the test wants, and counts."""

    def __init__(self, *, good: bool) -> None:
        self.good = good
        self.calls = 0
        self._changed = threading.Condition()

    def __call__(self, instance: Instance, timeout: float) -> None:
        with self._changed:
            self.calls += 1
            self._changed.notify_all()
        if not self.good:
            raise Unhealthy("switched off")

    def again(self, times: int = 3) -> None:
        """Wait for so many more calls."""
        self.called(self.calls + times)

    def called(self, times: int) -> None:
        """Wait until there were so many calls."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.calls >= times, PATIENCE)


@pytest.fixture
def store() -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{uuid.uuid4().hex}") as opened:
        yield opened


Open = Callable[..., Registry]


@pytest.fixture
def open_registry(store: tenure.Store) -> Iterator[Open]:
    opened: list[Registry] = []

    def open_it(probe: Callable[..., object], **pace: object) -> Registry:
        settings = {"interval": QUICK, "fall": 2, "rise": 2, **pace}
        config = RegistryConfig(health=HealthCheck(probe, **settings))  # type: ignore[arg-type]
        opened.append(Registry(store, config).start())
        return opened[-1]

    yield open_it
    for registry in opened:
        registry.close()


def until(registry: Registry, wanted: Callable[[list[str]], bool]) -> list[str]:
    """Wait for the statuses that others see."""
    changed = threading.Event()
    registry.add_handler(lambda _event: changed.set())
    for _ in range(int(PATIENCE * 10)):
        seen = [instance.status for instance in registry.get_services().get("web", ())]
        if wanted(seen):
            return seen
        changed.wait(0.1)
        changed.clear()
    raise AssertionError(seen)


WEB = Instance("web", id="a", port=8000)


def test_it_drains_while_the_probe_fails(open_registry: Open) -> None:
    probe = Switch(good=True)
    registry = open_registry(probe)
    changes: list[Status] = []
    registry.add_status_handler(lambda change: changes.append(change.status) if change.part is Part.HEALTH else None)
    registry.register(WEB)
    probe.good = False
    until(registry, lambda seen: seen == ["draining"])
    probe.good = True
    until(registry, lambda seen: seen == ["ready"])
    registry.close()
    assert changes == [Status.HEALTHY, Status.UNHEALTHY, Status.HEALTHY]


def test_it_is_registered_only_once_it_is_healthy(open_registry: Open, store: tenure.Store) -> None:
    probe = Switch(good=False)
    registry = open_registry(probe, start_timeout=None)
    joining = threading.Thread(target=registry.register, args=(WEB,))
    joining.start()
    probe.again()
    assert not store.list().keys
    probe.good = True
    joining.join(PATIENCE)
    assert [instance.status for instance in registry.get_service("web")] == ["ready"]


def test_one_that_never_becomes_healthy_is_refused(open_registry: Open, store: tenure.Store) -> None:
    registry = open_registry(Switch(good=False), start_timeout=0.05)
    with pytest.raises(Unhealthy, match="switched off"):
        registry.register(WEB)
    assert not store.list().keys
    assert registry.status is Status.IDLE


def test_closing_ends_the_wait(store: tenure.Store) -> None:
    probe = Switch(good=False)
    config = RegistryConfig(health=HealthCheck(probe, interval=3600.0, start_timeout=None), instance=WEB)
    registry = Registry(store, config)
    raised: list[BaseException] = []

    def start() -> None:
        try:
            registry.start()
        except BaseException as exc:  # noqa: BLE001 - the test looks at it
            raised.append(exc)

    starting = threading.Thread(target=start)
    starting.start()
    probe.called(1)
    registry.close()
    starting.join(PATIENCE)
    assert [type(error) for error in raised] == [StoreClosed]


def test_a_later_call_takes_the_place_of_one_that_waits(open_registry: Open) -> None:
    probe = Switch(good=False)
    registry = open_registry(probe, start_timeout=None)
    raised: list[Unhealthy] = []

    def first() -> None:
        with pytest.raises(Unhealthy, match="given up") as caught:
            registry.register(WEB)
        raised.append(caught.value)

    waiting = threading.Thread(target=first)
    waiting.start()
    probe.again()
    second = threading.Thread(target=registry.register, args=(WEB,))
    second.start()
    waiting.join(PATIENCE)
    assert len(raised) == 1
    probe.good = True
    second.join(PATIENCE)
    assert registry.status is Status.REGISTERED


def test_a_cancelled_start_stops_probing() -> None:
    probe = Switch(good=False)

    async def main() -> None:
        health = HealthCheck(probe, interval=QUICK, start_timeout=None)
        async with aio.connect(f"memory://{uuid.uuid4().hex}") as store:
            registry = aio.Registry(store, RegistryConfig(health=health), WEB)
            starting = asyncio.create_task(registry.start())
            await asyncio.to_thread(probe.again)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            while not registry.closed:  # the thread that started it closes it
                await asyncio.sleep(QUICK)
            assert (await store.list()).keys == ()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_cancelled_registration_stops_probing() -> None:
    probe = Switch(good=False)

    async def main() -> int:
        config = RegistryConfig(health=HealthCheck(probe, interval=QUICK, start_timeout=None))
        async with aio.connect(f"memory://{uuid.uuid4().hex}") as store, aio.Registry(store, config) as registry:
            joining = asyncio.create_task(registry.register(WEB))
            await asyncio.to_thread(probe.again)
            joining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joining
            probe.good = True
            await registry.register(WEB)  # the next call works, and its wait is the only one
            return len(registry.get_service("web"))

    assert asyncio.run(main()) == 1


def test_what_the_application_drained_stays_drained(open_registry: Open) -> None:
    probe = Switch(good=True)
    registry = open_registry(probe)
    registry.register(WEB)
    probe.good = False
    until(registry, lambda seen: seen == ["draining"])
    registry.drain()
    probe.good = True
    probe.again(6)
    assert registry.current().status == "draining"  # type: ignore[union-attr]
    registry.undrain()
    until(registry, lambda seen: seen == ["ready"])


def test_a_probe_that_hangs_has_failed(open_registry: Open) -> None:
    hanging, go_on, asked = threading.Event(), threading.Event(), []

    def probe(instance: Instance, timeout: float) -> None:
        asked.append(threading.current_thread())
        if hanging.is_set():
            go_on.wait(PATIENCE)

    registry = open_registry(probe, timeout=0.3)
    registry.register(WEB)
    hanging.set()
    try:
        until(registry, lambda seen: seen == ["draining"])
        assert sum(thread.is_alive() for thread in asked) == 1  # one thread, however often the probe was due
        hanging.clear()
    finally:
        go_on.set()
    until(registry, lambda seen: seen == ["ready"])


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(1)])
def test_whatever_a_probe_raises_is_a_reason(open_registry: Open, error: BaseException) -> None:
    def probe(instance: Instance, timeout: float) -> None:
        raise error

    with pytest.raises(Unhealthy, match=type(error).__name__):
        open_registry(probe, start_timeout=0.05).register(WEB)


def test_an_outage_of_the_store_only_delays_the_mark(
    open_registry: Open, store: tenure.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Switch(good=True)
    registry = open_registry(probe)
    registry.register(WEB)
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> None:
            raise tenure.Unavailable("away")

        patch.setattr(registry._registration, "update", away)
        probe.good = False
        probe.again(5)
        assert registry.current().status == "ready"  # type: ignore[union-attr]
    until(registry, lambda seen: seen == ["draining"])


def test_results_in_a_row_count() -> None:
    tally = Tally(HealthCheck(TcpProbe(), rise=2, fall=3))
    changes = [tally.note(good=letter == "+") for letter in "+-++--+---+-++"]
    assert [index for index, changed in enumerate(changes) if changed] == [3, 9, 13]
    assert tally.healthy is True


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/good": 204, "/moved": 302, "/bad": 500}.get(self.path, 404))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tcp", None),
        ("tcp://127.0.0.1:{port}", None),
        ("tcp://127.0.0.1:1", "connecting to 127.0.0.1:1"),
        ("http:/good", None),
        ("http:/moved", None),
        ("http://127.0.0.1:{port}/good", None),
        ("http:/bad", "status 500"),
        ("https://127.0.0.1:{port}/good", "GET /good"),
        ("exec:sh -c 'test $TENURE_PROBE_PORT = {port}'", None),
        ("exec:sh -c 'echo no room; exit 3'", "exit code 3: no room"),
        ("exec:/no/such/program", "can't be started"),
        ("exec:sleep 60", "had not ended"),
    ],
)
def test_probes(port: int, text: str, reason: str | None) -> None:
    instance = Instance("web", id="a", host="127.0.0.1", port=port)
    probe = parse_probe(text.format(port=port))
    seconds = 0.1 if "sleep" in text else PATIENCE
    if reason is None:
        probe(instance, seconds)
    else:
        with pytest.raises(Unhealthy, match=reason):
            probe(instance, seconds)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n", b"HTTP/1.1\r\n"])
def test_an_answer_that_is_no_http_is_a_reason(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(8192)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(Unhealthy, match="no HTTP"):
            HttpProbe("/x")(Instance("web", host="127.0.0.1", port=server.getsockname()[1]), PATIENCE)
        thread.join()


@pytest.mark.parametrize(
    "make",
    [
        lambda: parse_probe("ping"),
        lambda: parse_probe("tcp://x"),
        lambda: parse_probe("tcp://x:port"),
        lambda: parse_probe("exec:'"),
        lambda: HttpProbe("ftp://x"),
        lambda: HttpProbe("/a b"),
        lambda: HttpProbe("http://x:99999999/"),
        lambda: CommandProbe(()),
        lambda: HealthCheck(TcpProbe(), interval=0),
        lambda: HealthCheck(TcpProbe(), fall=0),
        lambda: HealthCheck("tcp"),  # type: ignore[arg-type]
        lambda: RegistryConfig(health=TcpProbe()),  # type: ignore[arg-type]
    ],
)
def test_what_can_be_no_check_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
