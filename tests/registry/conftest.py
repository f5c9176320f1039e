"""Stores, registries and recorders for these tests. Time moves by hand; waiting is for a state, never for time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator

import pytest

import tenure
import tenure_memory
from tenure import ManualClock, Store
from tenure._runtime.clock import SystemClock
from tenure.registry import Registry, RegistryConfig, Status
from tenure.registry.lifecycle.state import TRANSITIONS, RegistrationState
from tenure.spi import Backend, OpenRequest
from tenure_memory.servers import open_backend
from tenure_testkit.waiting import PATIENCE


@pytest.fixture(autouse=True)
def only_transitions_of_the_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every change of a registration's status is one that ``TRANSITIONS`` has; the picture shows those."""
    others: list[str] = []
    change = RegistrationState.set_status

    def checked(self: RegistrationState, status: Status, *args: object) -> None:
        if status is not self.status and status not in TRANSITIONS[self.status]:
            others.append(f"{self.status} to {status}: {args[0]}")
        change(self, status, *args)

    monkeypatch.setattr(RegistrationState, "set_status", checked)
    yield
    assert others == []


class Told(list):
    """Callable that keeps what it is called with, and can be waited on."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, item: object) -> None:
        with self._changed:
            self.append(item)
            self._changed.notify_all()

    def wait(self, predicate: Callable[[list], bool], timeout: float = PATIENCE) -> list:
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self), timeout), list(self)
            return list(self)

    def of(self, count: int) -> list:
        return self.wait(lambda items: len(items) >= count)


class Gate(Backend):
    """A backend that holds up the commits that ``stops`` says, after or before they are applied."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.stops: Callable[[object], bool] = lambda transaction: False
        self.before = True
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def commit(self, transaction, *, timeout):
        stop = self.stops(transaction)
        if not stop:
            return self._backend.commit(transaction, timeout=timeout)
        if self.before:
            self._hold()
            return self._backend.commit(transaction, timeout=timeout)
        answer = self._backend.commit(transaction, timeout=timeout)
        self._hold()
        return answer

    def _hold(self) -> None:
        self.reached.set()
        assert self.go_on.wait(60.0)

    @property
    def capabilities(self):
        return self._backend.capabilities

    @property
    def native(self):
        return self._backend.native

    def get(self, key, *, timeout):
        return self._backend.get(key, timeout=timeout)

    def list(self, request, *, timeout):
        return self._backend.list(request, timeout=timeout)

    def grant(self, ttl, *, timeout):
        return self._backend.grant(ttl, timeout=timeout)

    def refresh(self, lease_ids, *, timeout):
        return self._backend.refresh(lease_ids, timeout=timeout)

    def revoke(self, lease_ids, *, timeout):
        return self._backend.revoke(lease_ids, timeout=timeout)

    def leases(self, lease_id, *, timeout):
        return self._backend.leases(lease_id, timeout=timeout)

    def watch(self, request, *, sink, timeout):
        return self._backend.watch(request, sink=sink, timeout=timeout)

    def server_info(self, *, timeout):
        return self._backend.server_info(timeout=timeout)

    def close(self):
        self._backend.close()


@pytest.fixture
def told() -> type[Told]:
    return Told


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server() -> Iterator[tenure_memory.MemoryServer]:
    """The server of a name that no other test uses."""
    name = f"registry-{uuid.uuid4().hex}"
    yield tenure_memory.server(name)
    tenure_memory.forget(name)


@pytest.fixture
def open_store(server, clock) -> Iterator[Callable[..., Store]]:
    """Opens the test's memory server on the test's clock."""
    opened: list[Store] = []

    def open_store(*, timeout: float = 0.3) -> Store:
        opened.append(tenure.connect(f"memory://{server.name}", clock=clock, timeout=timeout))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store) -> Store:
    return open_store()


@pytest.fixture
def gated(server, clock) -> Iterator[tuple[Gate, Store]]:
    """A store on the test's server whose commits can be held up."""
    request = OpenRequest(
        url=f"memory://{server.name}",
        variants=frozenset(),
        path=server.name,
        options={},
        timeout=5.0,
        clock=clock,
    )
    gate = Gate(open_backend(request))
    store = Store.from_backend(gate, url="memory://gated", clock=clock)
    yield gate, store
    gate.go_on.set()
    store.close()


@pytest.fixture
def registry(store) -> Iterator[Callable[..., Registry]]:
    """Makes started registries, on the test's store unless another is given, without jitter."""
    made: list[Registry] = []

    def registry(instance=None, *, on: Store | None = None, **config: object) -> Registry:
        made.append(Registry(on or store, RegistryConfig(**{"jitter": 0.0, **config}), instance))
        return made[-1].start()

    yield registry
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Whatever a test did, the registry leaves no thread behind."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("tenure"):
            thread.join(60.0)
            assert not thread.is_alive(), thread


@pytest.fixture(params=["memory", "sqlite", "etcd"])
def registry_url(request: pytest.FixtureRequest, tmp_path) -> str:
    """One URL per store, the same for every opener within the test."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    url: str = request.getfixturevalue("etcd_own_url")
    return url


@pytest.fixture
def registry_store(registry_url) -> Iterator[Callable[[], Store]]:
    """Opens the store that the test runs on; each call is another connection, on the real clock."""
    opened: list[Store] = []

    def open_store() -> Store:
        opened.append(tenure.connect(registry_url, clock=SystemClock()))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()
