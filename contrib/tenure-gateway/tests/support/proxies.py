"""nginx and HAProxy, configured by the examples' templates."""

from __future__ import annotations

from pathlib import Path

from processes import Process
from programs import Programs

import tenure
from tenure_testkit.servers.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


class Proxy:
    """nginx or HAProxy with a configuration file that `tenure render` writes from the example's template."""

    def __init__(self, name: str, programs: Programs, folder: Path, store: tenure.Store) -> None:
        self.port = free_port()
        self._programs = programs
        self.pid = folder / "proxy.pid"
        self.out = folder / ("nginx.conf" if name == "nginx" else "haproxy.cfg")
        self.arguments: list[object] = ["render", EXAMPLES / f"{self.out.name}.j2", self.out]
        self._name = name
        self.write_keys(store)
        if name == "nginx":
            self.arguments += ["--check", "nginx -t -q -c {}", "--exec", f"nginx -c {self.out} -s reload"]
            self._command: list[object] = ["nginx", "-c", self.out]
        else:
            self.arguments += ["--check", "haproxy -c -q -f {}", "--exec", f"inside 'kill -USR2 $(cat {self.pid})'"]
            self._command = ["haproxy", "-W", "-D", "-p", self.pid, "-f", self.out]

    def write_keys(self, store: tenure.Store) -> None:
        """Write the keys that the template reads."""
        store.put(f"{self._name}/listen", f"127.0.0.1:{self.port}".encode())
        if self._name == "nginx":
            store.put("nginx/pid", str(self.pid).encode())
            store.put("nginx/next_upstream", b"off")  # what another instance would make good is a failure here

    def start(self, url: str) -> None:
        """Write the first file without the commands that need a running proxy, and start the proxy."""
        with Process(url, *self.arguments[:3], "--once") as once:
            assert once.wait() == 0
        self._programs.run(*self._command)

    def stop(self) -> None:
        self._programs.run("sh", "-c", f"kill {self.pid.read_text().split()[0]}")
