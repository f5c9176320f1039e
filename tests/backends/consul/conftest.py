"""Opens Consul backends without the Store above them, and stands in the middle."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tenure.spi import Backend
from tenure_consul.plugin import tenure_backend
from tenure_testkit.probes import Relay, closing_all, open_url


@pytest.fixture
def opened() -> Iterator[Callable[..., Backend]]:
    """Opens a backend from a URL and closes it after the test."""
    with closing_all(partial(open_url, tenure_backend()), threads="tenure-consul") as open_one:
        yield open_one


@pytest.fixture
def middle(consul_node) -> Iterator[Relay]:
    """Between the test and a Consul of its own."""
    between = Relay(consul_node.port)
    yield between
    between.close()


@pytest.fixture
def prefix() -> str:
    """A prefix of keys that no other test uses."""
    return f"t-{uuid.uuid4().hex}/"
