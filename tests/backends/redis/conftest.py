"""Opens Redis backends without the Store above them, and breaks connections on purpose."""

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tenure.spi import Backend
from tenure_redis.plugin import tenure_backend
from tenure_testkit.probes import Relay, closing_all, open_url


@pytest.fixture
def open_redis() -> Iterator[Callable[..., Backend]]:
    """Opens a backend from a URL and closes it after the test."""
    with closing_all(partial(open_url, tenure_backend()), threads="tenure-redis") as open_one:
        yield open_one


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    """Makes relays, each to one port."""
    made: list[Relay] = []

    def make(port: int, *, path: Path | None = None) -> Relay:
        made.append(Relay(port, path=path))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fresh(redis_url: str) -> str:
    """The shared Redis, with a store that no other test uses."""
    return f"{redis_url}{'&' if '?' in redis_url else '?'}store=t-{uuid.uuid4().hex}"
