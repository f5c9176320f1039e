"""Opens Consul backends without the Store above them, and stands in the middle."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from leasehold.spi import Backend
from leasehold_consul.plugin import leasehold_backend
from leasehold_probe import Relay, closing_all, open_url


@pytest.fixture
def opened() -> Iterator[Callable[..., Backend]]:
    """Opens a backend from a URL and closes it after the test."""
    with closing_all(partial(open_url, leasehold_backend()), threads="leasehold-consul") as open_one:
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
