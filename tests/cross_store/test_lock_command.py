"""`tenure lock` on every store that processes share: it holds, is listed, and is killed when the lock is taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tenure import Fence, Lock, Store
from tenure_testkit.waiting import PATIENCE, until

COMMAND = ["sh", "-c", "echo $TENURE_TOKEN $TENURE_FENCE; exec sleep 1000"]


@pytest.fixture(params=["sqlite", "etcd", "redis", "zookeeper", "consul"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where this test's part of a store is that several processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return str(request.getfixturevalue(f"{request.param}_own_url"))


def tenure(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tenure.cli", *arguments],
        env={**os.environ, "TENURE_URL": url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_command_holds_the_lock_until_it_is_taken_away(shared_url: str, opened: Callable[..., Store]) -> None:
    store = opened(shared_url, timeout=PATIENCE)
    with Lock(store, "job").hold(timeout=PATIENCE) as held:
        before = held.fence()
    with tenure(shared_url, "lock", "job", "--", *COMMAND) as holder:
        try:
            assert holder.stdout is not None
            token, fence = holder.stdout.readline().split()
            assert Fence.parse(fence) > before
            with tenure(shared_url, "locks", "show", "job", "--json") as shown:
                [place] = json.loads(shown.communicate(timeout=PATIENCE)[0])
            assert (place["token"], place["holds"]) == (int(token), True)
            with tenure(shared_url, "locks", "release", "job", "--yes") as operator:
                assert operator.wait(PATIENCE) == 0
            assert holder.wait(PATIENCE) == 79
        finally:
            holder.kill()
    with tenure(shared_url, "lock", "job", "--wait", str(PATIENCE), "--", "sh", "-c", "exit 3") as successor:
        assert successor.wait(PATIENCE) == 3
    until(lambda: not store.list("tenure/lock/").keys)
