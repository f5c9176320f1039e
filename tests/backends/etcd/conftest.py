"""Opens etcd backends without the Store above them."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tenure.spi import Backend
from tenure_etcd.plugin import tenure_backend
from tenure_testkit.probes import closing_all, open_url


@pytest.fixture
def open_etcd() -> Iterator[Callable[..., Backend]]:
    """Opens a backend from a URL and closes it after the test."""
    with closing_all(partial(open_url, tenure_backend()), threads="etcd-") as open_one:
        yield open_one
