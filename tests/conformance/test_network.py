"""The proxy does what its toxics say, counts it, and leaves nothing behind."""

from __future__ import annotations

import base64
import contextlib
import gc
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tenure.conformance.network import (
    BOTH,
    Bandwidth,
    Cut,
    CutPoint,
    Direction,
    Late,
    Latency,
    LimitData,
    Network,
    ResetPeer,
    Sight,
    Slicer,
    Timeout,
)
from tenure.conformance.network.loop import LoopThread
from tenure.conformance.network.proxy import Proxy
from tenure.conformance.network.toxics import spellings
from tenure.spi import Host
from tenure_testkit.servers import until


class Echo(socketserver.ThreadingTCPServer):
    """Answers each line with itself and remembers it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.ended = 0
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def host(self) -> Host:
        return Host("127.0.0.1", self.server_address[1])


class Answer(socketserver.StreamRequestHandler):
    server: Echo

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.server.lines.append(line)
                self.wfile.write(line)
        self.server.ended += 1


@pytest.fixture
def server() -> Iterator[Echo]:
    with Echo() as echo:
        thread = threading.Thread(target=echo.serve_forever, args=(0.01,))
        thread.start()
        yield echo
        echo.shutdown()
        thread.join()


@pytest.fixture
def network(server: Echo) -> Iterator[Network]:
    with Network("unused://", (server.host,)) as network:
        yield network


@pytest.fixture
def client(network: Network) -> Iterator[socket.socket]:
    with connected(network) as sock:
        assert ask(sock, b"hello\n") == b"hello\n"
        yield sock


def connected(network: Network) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", network.proxies[0].port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def ask(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line)
    return answer(sock, len(line))


def answer(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = sock.recv(65_536)
        if not piece:
            break
        got += piece
    return got


def silent(sock: socket.socket, seconds: float = 0.1) -> bool:
    """Whether nothing comes for so long."""
    sock.settimeout(seconds)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(10)
    return False


def test_everything_passes_both_ways_and_is_counted(network: Network, client: socket.socket):
    big = b"x" * 300_000 + b"\n"
    assert ask(client, big) == big
    traffic = network.traffic
    assert (traffic.connections, traffic.broken) == (1, 0)
    assert traffic.up == traffic.down == len(big) + len(b"hello\n")
    assert network.open_connections == 1
    client.close()
    until(lambda: network.open_connections == 0, 60.0, "the connection has ended")


def test_one_side_may_end_before_the_other(network: Network, server: Echo, client: socket.socket):
    client.sendall(b"last\n")
    client.shutdown(socket.SHUT_WR)
    assert answer(client, 5) == b"last\n"
    assert client.recv(1) == b""


def test_a_server_that_is_not_there_breaks_the_connection(network: Network):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with Network("unused://", (Host("127.0.0.1", nobody.getsockname()[1]),)) as lost:
            with pytest.raises(ConnectionResetError), connected(lost) as sock:
                sock.recv(1)
            assert lost.traffic.connections == 1


def test_cut_breaks_what_there_is_and_nothing_else(network: Network, client: socket.socket):
    assert network.cut() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(network) as again:
        assert ask(again, b"again\n") == b"again\n"
    assert network.traffic.broken == 1


def test_down_refuses_until_it_is_up_again(network: Network, client: socket.socket):
    port = network.proxies[0].port
    with network.down() as down:
        assert down.effects == 2
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connected(network)
    assert network.proxies[0].port == port
    with connected(network) as again:
        assert ask(again, b"again\n") == b"again\n"


@pytest.mark.parametrize("directions", [(Direction.UP,), (Direction.DOWN,), BOTH], ids="+".join)
def test_a_black_hole_holds_back_and_delivers_in_the_end(
    network: Network, server: Echo, client: socket.socket, directions: tuple[Direction, ...]
):
    with network.black_hole(*directions) as hole:
        client.sendall(b"lost?\n")
        assert silent(client)
        until(lambda: hole.effects == len(b"lost?\n"), 60.0, "the bytes were counted")
        assert (b"lost?\n" in server.lines) == (Direction.UP not in directions)
        # Who connects now reaches nobody, and who goes away now isn't missed.
        with connected(network) as other:
            other.sendall(b"other\n")
            assert silent(other)
        assert b"other\n" not in server.lines
        assert server.ended == 0
    assert answer(client, 6) == b"lost?\n"


def test_a_black_hole_lets_the_first_pieces_through(network: Network, client: socket.socket):
    with network.black_hole(Direction.DOWN, passes=2) as hole:
        assert ask(client, b"one\n") == b"one\n"
        assert ask(client, b"two\n") == b"two\n"
        assert hole.effects == 0
        client.sendall(b"three\n")
        until(lambda: hole.effects == len(b"three\n"), 60.0, "the third answer is held back")
    assert answer(client, 6) == b"three\n"


def test_a_late_request_arrives_once_the_fault_is_removed(network: Network, server: Echo, client: socket.socket):
    with network.add(Late(needle=b"needle"), Direction.UP) as late:
        assert ask(client, b"other\n") == b"other\n"
        client.sendall(b"a needle\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with connected(network) as again:
            assert ask(again, b"a needle again\n") == b"a needle again\n"
        assert late.effects == 1
        assert b"a needle\n" not in server.lines
    until(lambda: late.effects == 2, 60.0, "the server has answered")
    assert server.lines[-1] == b"a needle\n"


def test_a_partition_heals(network: Network, client: socket.socket):
    network.partition()
    network.partition()
    client.sendall(b"held\n")
    assert silent(client)
    assert network.heal() == 5
    assert network.heal() == 0
    assert answer(client, 5) == b"held\n"


def test_latency_is_added_each_way(network: Network, client: socket.socket):
    with network.add(Latency(latency=0.1), *BOTH) as slow:
        started = time.monotonic()
        assert ask(client, b"slow\n") == b"slow\n"
        assert time.monotonic() - started >= 0.2
        assert slow.effects == 2
    assert ask(client, b"fast\n") == b"fast\n"
    assert slow.effects == 2


def test_bandwidth_is_bounded(network: Network, client: socket.socket):
    with network.add(Bandwidth(rate=100_000.0)) as narrow:
        started = time.monotonic()
        ask(client, b"x" * 19_999 + b"\n")
        assert time.monotonic() - started >= 0.19
        assert narrow.effects == 20_000


def test_slices_arrive_whole(network: Network, client: socket.socket):
    with network.add(Slicer(size=1, delay=0.001), *BOTH) as sliced:
        client.sendall(b"slices\n")
        assert client.recv(100) == b"s"
        assert answer(client, 6) == b"lices\n"
        assert sliced.effects == 14


def test_timeout_closes_in_the_end(network: Network, client: socket.socket):
    with network.add(Timeout(timeout=0.1)) as late:
        client.sendall(b"late\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert late.effects == 5


def test_reset_peer_breaks_what_is_used(network: Network, client: socket.socket):
    with network.add(ResetPeer(), Direction.UP) as reset:
        client.sendall(b"reset\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert reset.effects == 1


def test_data_is_limited(network: Network):
    with network.add(LimitData(bytes=8)) as limit, connected(network) as sock:
        assert ask(sock, b"1234\n") == b"1234\n"
        sock.sendall(b"5678\n")
        with contextlib.suppress(ConnectionResetError):
            assert answer(sock, 5) == b"567"
        assert limit.effects == 1


@pytest.mark.parametrize("wrapped", [False, True], ids=["raw", "base64"])
@pytest.mark.parametrize("point", CutPoint)
def test_a_cut_hits_its_request_alone(
    network: Network, server: Echo, client: socket.socket, point: CutPoint, wrapped: bool
):
    line = (base64.b64encode(b"begin needle end") if wrapped else b"begin needle end") + b"\n"
    with network.add(Cut(point=point, needle=b"needle"), Direction.UP) as cut:
        assert ask(client, b"something else\n") == b"something else\n"
        assert cut.effects == 0
        client.sendall(line[:9])
        client.sendall(line[9:])
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        until(lambda: cut.effects == 1, 60.0, "the cut was counted")
        if point is not CutPoint.BEFORE_REQUEST:
            until(lambda: line in server.lines, 60.0, "the server got the request")
        with connected(network) as again:
            assert ask(again, line) == line
    assert server.lines.count(line) == 1 + (point is not CutPoint.BEFORE_REQUEST)
    assert cut.effects == 1


def test_a_sight_only_looks(network: Network, client: socket.socket):
    with network.add(Sight(needle=b"needle"), Direction.UP) as sight:
        assert ask(client, b"needle\n") == b"needle\n"
        assert ask(client, b"nothing\n") == b"nothing\n"
        assert sight.effects == 1


@pytest.mark.parametrize("lead", range(4))
def test_a_needle_is_found_in_base64_at_any_place(lead: int):
    text = base64.b64encode(b"l" * lead + b"the needle" + b"rest")
    assert sum(spelling in text for spelling in spellings(b"the needle")) == 1


def test_a_network_that_is_not_enabled_does_no_harm(server: Echo):
    with Network("unused://", (server.host,), enabled=False) as network, connected(network) as sock:
        network.partition()
        faults = [
            network.down(),
            network.add(Cut(point=CutPoint.BEFORE_REQUEST), Direction.UP),
            network.add(ResetPeer(), *BOTH),
            network.black_hole(),
        ]
        assert network.cut() == 0
        assert ask(sock, b"fine\n") == b"fine\n"
        assert sum(fault.effects for fault in faults) == network.heal() == 0
        for fault in faults:
            fault.remove()


def test_closing_leaves_no_thread_and_no_connection(server: Echo):
    before = set(threading.enumerate())
    network = Network("unused://", (server.host, server.host))
    with connected(network) as sock, connected(network) as held:
        ask(sock, b"hello\n")
        network.partition()
        held.sendall(b"held\n")
        network.close()
        network.close()
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    until(lambda: server.ended >= 1, 60.0, "the server's side has ended, too")
    left = {thread for thread in threading.enumerate() if thread not in before and "network" in thread.name}
    assert not left


def test_closing_while_clients_connect_leaves_no_socket(server: Echo):
    """One that is left is warned of, which is an error here."""
    clients: list[socket.socket] = []

    def connect(port: int) -> None:
        for _ in range(15):
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            clients[-1].connect_ex(("127.0.0.1", port))

    for _ in range(100):
        loop = LoopThread("network")
        proxy = Proxy(server.host, loop)
        connecting = threading.Thread(target=connect, args=(proxy.port,))
        connecting.start()
        proxy.close()
        loop.close()
        connecting.join()
        while clients:
            clients.pop().close()
    del proxy, loop
    gc.collect()


def test_reset_takes_every_fault_away(network: Network, client: socket.socket):
    network.partition()
    network.add(Latency(latency=30.0), *BOTH)
    network.reset()
    assert ask(client, b"well\n") == b"well\n"


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("etcd://u:p%40@somewhere:1,[::1]:2/ns?ca=%2Fx", (Host("somewhere", 1), Host("::1", 2))),
        ("redis+tls://h/ns", (Host("h", 6379),)),
    ],
)
def test_a_urls_hosts_are_replaced_and_nothing_else(url: str, hosts: tuple[Host, ...]):
    url = url.replace("?ca=%2Fx", "")
    network = Network.in_front_of(url)
    assert network is not None
    with network:
        assert network.targets == hosts
        ports = ",".join(f"127.0.0.1:{proxy.port}" for proxy in network.proxies)
        assert network.url == url.replace(url.split("@")[-1].split("//")[-1].split("/")[0], ports)


@pytest.mark.parametrize("url", ["memory://name", "sqlite:///tmp/x.db"])
def test_stores_without_hosts_have_no_network(url: str):
    assert Network.in_front_of(url) is None
