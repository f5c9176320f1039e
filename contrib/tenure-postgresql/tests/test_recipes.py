"""Tests of recipes and watches of the stores that ship with Tenure, on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from postgresql_server import PostgresqlServer

ROOT = Path(__file__).parents[3]
FILES = ("recipes", "counters", "work", "settings", "meeting", "fencing", "aio", "abandoned_watches")


def test_recipes_keep_their_promises(server: PostgresqlServer) -> None:
    files = [f"tests/cross_store/test_{name}.py" for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "given", *files],
        cwd=ROOT,
        env={**os.environ, "TENURE_TEST_STORE_URL": server.url(schema="each").replace("each", "{}")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
