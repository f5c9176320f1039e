"""Trials of ``tenure lock``: is the first holder's command dead before the second holder's starts?

The first command writes the time into a file, over and over, until it is killed; SIGTERM doesn't end it. The second one
writes the time at which it starts. Both times are of the clock that counts since the machine's boot, so they compare.
The control is a wrapper without a guardian, as people write it. Stopped, it must break the rule.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tenure_testkit.probes.relay import Relay
from tenure_testkit.waiting import PATIENCE, until

HARMS = ("stopped", "killed", "cut")
"""What happens to the first ``tenure``: SIGSTOP, SIGKILL, or a network that leads nowhere."""

_UNHARMED = 60.0
"""TTL of the second holder, which must not lose the lock on a busy machine before its command starts."""

_WRITE = """
import os, signal, struct, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
while True:
    os.pwrite(file, struct.pack("=dQ", time.clock_gettime(time.CLOCK_BOOTTIME), os.getpid()), 0)
    if len(sys.argv) > 2:
        break
    time.sleep(0.001)
"""
_NAIVE = """
import subprocess, sys, time, tenure
with tenure.connect(sys.argv[1]) as store, tenure.Session.open(store, ttl=float(sys.argv[3])) as session:
    held = tenure.Lock(store, sys.argv[2], session=session).acquire()
    process = subprocess.Popen(sys.argv[4:])
    while held.held and process.poll() is None:
        time.sleep(0.01)
    process.kill()
"""


@dataclass(frozen=True)
class Trial:
    """What was seen: ``gap`` is how many seconds before the second start the first command had ended."""

    harm: str
    gap: float

    @property
    def passed(self) -> bool:
        """Whether the first command was dead before the second one started."""
        return self.gap > 0


def run_trial(url: str, harm: str, folder: Path, *, ttl: float, naive: bool = False) -> Trial:
    """Let one holder suffer ``harm``, and a second one follow."""
    name = f"trial-{uuid.uuid4().hex}"
    first_file, second_file = folder / f"{name}-first", folder / f"{name}-second"
    relay = Relay(urlsplit(url).port or 0) if harm == "cut" else None
    first_url = url if relay is None else url.replace(f":{urlsplit(url).port}", f":{relay.port}")
    first = _start(first_url, name, ttl, [str(first_file)], naive=naive)
    second: subprocess.Popen[bytes] | None = None
    try:
        until(lambda: _read(first_file), what="the first command's start")
        second = _start(url, name, _UNHARMED, [str(second_file), "once"])
        if relay is not None:
            relay.turn_to(1)
            relay.forget()
        else:
            first.send_signal(signal.SIGSTOP if harm == "stopped" else signal.SIGKILL)
        started, _ = until(lambda: _read(second_file), what="the second command's start")
        ended, pid = _read(first_file) or (0.0, 0)
        alive = Path(f"/proc/{pid}/cmdline").exists() and first_file.name in Path(f"/proc/{pid}/cmdline").read_text()
        return Trial(harm, -1.0 if alive else started - ended)
    finally:
        for process in (first, second):
            if process is not None:
                process.send_signal(signal.SIGCONT)
                _end(process)
        written = _read(first_file)
        if naive and written is not None:
            subprocess.run(["kill", "-9", str(written[1])], check=False, stderr=subprocess.DEVNULL)
        if relay is not None:
            relay.close()


def _start(
    url: str, name: str, ttl: float, arguments: Sequence[str], *, naive: bool = False
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-c", _WRITE, *arguments]
    if naive:
        wrapper = [sys.executable, "-c", _NAIVE, url, name, str(ttl)]
    else:
        wrapper = [sys.executable, "-m", "tenure.cli", "lock", name, "--quiet", "--ttl", str(ttl), "--"]
    return subprocess.Popen(
        [*wrapper, *command], env={**os.environ, "TENURE_URL": url}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _read(file: Path) -> tuple[float, int] | None:
    try:
        moment, pid = struct.unpack("=dQ", file.read_bytes())
    except (FileNotFoundError, struct.error):
        return None
    return moment, pid


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
