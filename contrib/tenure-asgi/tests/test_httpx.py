"""The transports: which instance gets a request, when another one does, and how long that takes at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tenure_asgi.httpx import AsyncTenureTransport, TenureTransport

import tenure
from tenure import ConfigError, aio
from tenure.registry import Instance, Registry, encode, key_of
from tenure_testkit.waiting import until

Handler = Callable[[httpx.Request], httpx.Response]
PORTS = (8001, 8002, 8003)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{request.node.name}") as store:
        for port in PORTS:
            put(store, port)
        yield store


@pytest.fixture
def registry(store: tenure.Store) -> Iterator[Registry]:
    with Registry(store) as registry:
        yield registry


def put(store: tenure.Store, port: int, *, id: str = "", **meta: object) -> None:  # noqa: A002 - as the registry has it
    instance = Instance("web", id=id or str(port), host="10.0.0.1", port=port, meta=meta)
    store.put(key_of("/registry/default/", instance), encode(instance))


class Instances:
    """Answers requests as instances would, or fails as told by port, and keeps what it was sent."""

    def __init__(self, failures: dict[int, type[httpx.TransportError]] | None = None) -> None:
        self.failures = failures or {}
        self.sent: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        error = self.failures.get(request.url.port or 0)
        if error is not None:
            raise error("as the test wants it", request=request)
        return httpx.Response(200, text=str(request.url.port))

    @property
    def ports(self) -> list[int | None]:
        return [request.url.port for request in self.sent]


def send(registry: Registry, instances: Handler, method: str = "GET", *, how: Any = None, **request: Any) -> str:
    transport = TenureTransport(registry, httpx.MockTransport(instances), **(how or {}))
    with httpx.Client(transport=transport) as client:
        return client.request(method, "http://web.tenure/path?query=1", **request).text


def test_requests_go_to_all_instances_in_turn_and_keep_everything_but_the_address(registry: Registry) -> None:
    instances = Instances()
    assert {send(registry, instances, "POST", content=b"body", headers={"x-own": "1"}) for _ in PORTS} == {
        "8001",
        "8002",
        "8003",
    }
    for request in instances.sent:
        assert (request.method, request.url.host, request.url.path, request.url.query) == (
            "POST",
            "10.0.0.1",
            "/path",
            b"query=1",
        )
        assert request.read() == b"body"
        assert (request.headers["host"], request.headers["x-own"]) == ("web.tenure", "1")
        assert request.extensions["sni_hostname"] == "web.tenure"


def test_the_response_and_its_cookies_belong_to_the_services_name(registry: Registry) -> None:
    def redirecting(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/":
            return httpx.Response(302, headers={"location": "/next", "set-cookie": "seen=1"})
        return httpx.Response(200, text=request.headers["cookie"])

    with httpx.Client(transport=TenureTransport(registry, httpx.MockTransport(redirecting))) as client:
        answer = client.get("http://web.tenure/", follow_redirects=True)
    assert str(answer.url) == "http://web.tenure/next"
    assert answer.text == "seen=1"


def test_other_hosts_are_sent_as_they_are(registry: Registry) -> None:
    instances = Instances()
    with httpx.Client(transport=TenureTransport(registry, httpx.MockTransport(instances))) as client:
        for url in ("http://example.org/", "http://tenure/", "http://web.tenure.example/"):
            client.get(url)
    assert [request.url.host for request in instances.sent] == ["example.org", "tenure", "web.tenure.example"]


def test_another_domain(registry: Registry) -> None:
    with httpx.Client(
        transport=TenureTransport(registry, httpx.MockTransport(Instances()), domain="Internal")
    ) as client:
        assert client.get("http://web.internal/").text in {"8001", "8002", "8003"}


def test_an_absolute_name_is_the_services_too(registry: Registry) -> None:
    instances = Instances()
    with httpx.Client(transport=TenureTransport(registry, httpx.MockTransport(instances))) as client:
        client.get("https://web.tenure./path")
        client.get("http://example.org./")
    sent, other = instances.sent
    assert (sent.url.host, sent.extensions["sni_hostname"]) == ("10.0.0.1", "web.tenure")
    assert other.url.host == "example.org."
    with httpx.Client(
        transport=TenureTransport(registry, httpx.MockTransport(instances), domain=".internal.")
    ) as client:
        assert client.get("http://web.internal/").text in {"8001", "8002", "8003"}


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_never_sent_goes_to_another_instance(
    registry: Registry, error: type[httpx.TransportError], method: str
) -> None:
    instances = Instances({8001: error, 8002: error})
    assert send(registry, instances, method, content=iter([b"a", b"stream"])) == "8003"
    assert set(registry.resting) == {f"web/{port}@10.0.0.1" for port in set(instances.ports) - {8003}}


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError])
def test_what_may_have_been_done_is_repeated_only_if_that_is_safe(
    registry: Registry, error: type[httpx.TransportError]
) -> None:
    assert send(registry, Instances({8001: error, 8002: error}), "PUT", content=b"whole") == "8003"
    for method, content in (("POST", b"whole"), ("PATCH", b"whole"), ("PUT", iter([b"a", b"stream"]))):
        instances = Instances(dict.fromkeys(PORTS, error))
        with pytest.raises(error):
            send(registry, instances, method, content=content)
        assert len(instances.sent) == 1, (method, content)


def test_a_timeout_is_not_repeated_and_the_instance_rests(registry: Registry) -> None:
    instances = Instances(dict.fromkeys(PORTS, httpx.ReadTimeout))
    with pytest.raises(httpx.ReadTimeout):
        send(registry, instances)
    assert len(instances.sent) == len(registry.resting) == 1


def test_a_failure_of_the_client_lets_no_instance_rest(registry: Registry) -> None:
    with pytest.raises(httpx.PoolTimeout):
        send(registry, Instances(dict.fromkeys(PORTS, httpx.PoolTimeout)))
    assert not registry.resting


def test_a_response_ends_the_rest_of_its_instance(registry: Registry) -> None:
    for port in PORTS:
        registry.report_failure(registry.pick("web", exclude=[str(each) for each in PORTS if each != port]))
    answer = send(registry, lambda request: httpx.Response(500, text=str(request.url.port)))
    assert set(registry.resting) == {f"web/{port}@10.0.0.1" for port in PORTS if str(port) != answer}


def test_no_more_than_the_attempts_are_made_and_each_on_another_instance(registry: Registry) -> None:
    for attempts in (1, 2, 3, 9):
        instances = Instances(dict.fromkeys(PORTS, httpx.ConnectError))
        with pytest.raises(httpx.ConnectError, match="as the test wants it"):
            send(registry, instances, how={"attempts": attempts})
        assert len(instances.sent) == len(set(instances.ports)) == min(attempts, 3)


def test_all_instances_at_the_address_that_failed_are_left_out(store: tenure.Store, registry: Registry) -> None:
    for worker in ("second", "third"):
        put(store, 8001, id=worker)
        put(store, 8002, id=f"of-8002-{worker}")
    registry.wait_for("web", 7)
    instances = Instances({8001: httpx.ConnectError, 8002: httpx.ConnectError})
    assert send(registry, instances) == "8003"
    for _ in range(6):
        assert send(registry, instances) == "8003"
    assert instances.ports.count(8001) <= 1
    assert instances.ports.count(8002) <= 1


def test_zones_and_keys_choose(store: tenure.Store, registry: Registry) -> None:
    put(store, 8010, zone="b")
    registry.wait_for("web", 4)
    assert {send(registry, Instances(), how={"zones": ["b"]}) for _ in range(4)} == {"8010"}
    by_user = {"sticky": lambda request: request.headers["user"]}
    chosen = {
        user: {send(registry, Instances(), how=by_user, headers={"user": user}) for _ in range(3)}
        for user in "abcdefgh"
    }
    assert all(len(ports) == 1 for ports in chosen.values())
    assert len(set.union(*chosen.values())) > 1


def test_a_service_without_instances_is_a_failure_to_connect(store: tenure.Store, registry: Registry) -> None:
    with httpx.Client(transport=TenureTransport(registry)) as client, pytest.raises(httpx.ConnectError, match="nobody"):
        client.get("http://nobody.tenure/")
    for port in PORTS:
        put(store, port, status="draining")
    until(lambda: not [each for each in registry.get_service("web") if each.ready], what="all are draining")
    with pytest.raises(httpx.ConnectError, match="of those that are ready"):
        send(registry, Instances())


def test_attempts_share_the_timeout_of_the_request(registry: Registry) -> None:
    instances = Instances({8001: httpx.ConnectError, 8002: httpx.ConnectError})
    send(registry, instances, timeout=httpx.Timeout(30.0, read=6.0, pool=None))
    connects = [request.extensions["timeout"]["connect"] for request in instances.sent]
    assert connects[0] == pytest.approx(10.0, abs=1)
    if len(connects) == 3:
        assert connects[2] == pytest.approx(30.0, abs=5)
    assert all(request.extensions["timeout"]["read"] == 6.0 for request in instances.sent)

    without = Instances()
    send(registry, without, timeout=None)
    assert without.sent[0].extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"))


def test_no_attempt_begins_after_the_timeout(registry: Registry) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        began = time.monotonic()
        while time.monotonic() - began < limit:
            pass
        raise httpx.ConnectError("late", request=request)

    limit = 0.01
    sent: list[httpx.Request] = []
    with pytest.raises(httpx.ConnectError):
        send(registry, slow, timeout=httpx.Timeout(limit))
    assert len(sent) == 1


NO_HOSTS = ["a\u202eb", "a:80", "[::1", "xn--\xe9", "a\nb", "a..b", "x" * 300]


@pytest.mark.parametrize("host", NO_HOSTS, ids=range(len(NO_HOSTS)))
def test_an_instance_whose_host_is_none_fails_as_others_do(store: tenure.Store, registry: Registry, host: str) -> None:
    """Some are no part of a URL, and some are no name to the resolver."""

    def resolved(request: httpx.Request) -> httpx.Response:
        request.url.host.encode("idna")
        return instances(request)

    instances = Instances()
    bad = Instance("web", id="bad", host=host, port=8001)
    store.put(key_of("/registry/default/", bad), encode(bad))
    for port in PORTS:
        store.delete(key_of("/registry/default/", Instance("web", id=str(port), host="10.0.0.1", port=port)))
    until(lambda: [each.id for each in registry.get_service("web").instances] == ["bad"])
    with pytest.raises(httpx.ConnectError, match="an instance of 'web' is at"):
        send(registry, resolved)
    put(store, 8002)
    until(lambda: len(registry.get_service("web").instances) == 2)
    assert [send(registry, resolved) for _ in range(4)] == ["8002"] * 4


def test_arguments_out_of_range_are_refused(registry: Registry) -> None:
    for transport in (TenureTransport, AsyncTenureTransport):
        with pytest.raises(ConfigError, match="attempts"):
            transport(registry, attempts=0)
        with pytest.raises(ConfigError, match="strategy"):
            transport(registry, strategy="best")
        with pytest.raises(ConfigError, match="domain"):
            transport(registry, domain=".")


def test_the_asynchronous_transport_has_the_same_rules(store: tenure.Store, request: pytest.FixtureRequest) -> None:
    instances = Instances({8001: httpx.ConnectError, 8002: httpx.ReadError})

    async def main() -> None:
        async with (
            aio.connect(f"memory://{request.node.name}") as own,
            aio.Registry(own) as registry,
            httpx.AsyncClient(transport=AsyncTenureTransport(registry, httpx.MockTransport(instances))) as client,
        ):
            answers = {(await client.get("http://web.tenure/")).text for _ in range(4)}
            assert answers == {"8003"}
            with pytest.raises(httpx.ConnectError):
                await client.get("http://nobody.tenure/")
            await client.get("http://example.org/")

    asyncio.run(main())
    assert instances.sent[-1].url.host == "example.org"
