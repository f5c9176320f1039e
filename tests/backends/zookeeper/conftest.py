"""Opens ZooKeeper backends without the Store above them."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tenure.spi import Backend
from tenure_testkit.probes import closing_all, open_url
from tenure_zookeeper.plugin import tenure_backend


@pytest.fixture
def open_zookeeper() -> Iterator[Callable[..., Backend]]:
    """Opens a backend from a URL and closes it after the test."""
    with closing_all(partial(open_url, tenure_backend()), threads=None) as open_one:
        yield open_one
