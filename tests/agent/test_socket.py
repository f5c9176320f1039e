"""Who may connect, and that one agent alone has a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import tenure
from tenure.agent import AgentSettings, ask_status
from tenure.agent._socket_file import SocketFile
from tenure.errors import ConfigError, PermissionDenied, Unavailable
from tenure_testkit.waiting import PATIENCE, until

HOLD = """
import sys, time
from pathlib import Path
from tenure.agent._socket_file import SocketFile
file = SocketFile(Path(sys.argv[1]), 0o600)
file.claim()
listener = file.listen()
print("listening", flush=True)
sys.stdin.read()
"""


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("wanted", [0o600, 0o660, 0o666])
def test_the_mode_is_as_asked_whatever_the_umask(started, sock, wanted):
    before = os.umask(0o077 if wanted == 0o666 else 0)
    try:
        started(mode=wanted)
    finally:
        os.umask(before)
    assert mode(sock) == wanted
    assert mode(sock.with_name("a.sock.lock")) == 0o600
    assert sorted(os.listdir(sock.parent)) == ["a.sock", "a.sock.lock"]


def test_by_default_only_the_own_user_connects():
    assert AgentSettings(socket="/x", prefixes=("a",)).mode == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be taken on by root")
def test_another_user_is_kept_out_by_the_mode_and_let_in_by_it(started):
    code = (
        "import os, sys\nfrom tenure.agent import ask_status\nfrom tenure.errors import PermissionDenied\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: print(ask_status(sys.argv[1], timeout=60).pid)\nexcept PermissionDenied as exc: print('denied', exc)"
    )
    # Other users can't enter the folders that pytest makes.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _other_user(started, Path(folder) / "a.sock", code)


def _other_user(started, sock: Path, code: str) -> None:
    agent = started(mode=0o600, socket=sock)
    said = subprocess.run([sys.executable, "-c", code, str(sock)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("denied")
    assert "--mode" in said
    agent.close()
    open_to_all = started(mode=0o666, socket=sock)
    said = subprocess.run([sys.executable, "-c", code, str(sock)], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(os.getpid())
    open_to_all.close()


@pytest.mark.parametrize("wrong", [0o700, 0o400, 0o060, 0o1600, 0o777])
def test_a_mode_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match="mode"):
        AgentSettings(socket="/x", prefixes=("a",), mode=wrong)


def test_a_second_agent_is_refused_and_the_first_goes_on(started, sock, opened, through):
    started()
    with pytest.raises(Unavailable, match=rf"another agent has this socket \(process {os.getpid()}\); end it first"):
        started()
    assert ask_status(sock).pid == os.getpid()


def test_the_end_leaves_nothing_behind(started, sock):
    started().close()
    assert os.listdir(sock.parent) == []


def test_what_a_killed_agent_left_is_replaced(started, sock, url):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(sock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "listening"
        with pytest.raises(Unavailable, match=f"process {other.pid}"):
            started()
        other.send_signal(signal.SIGKILL)
    assert sock.is_socket()
    started()
    assert ask_status(sock).pid == os.getpid()


@pytest.mark.parametrize("what", ["file", "folder", "link", "dangling"])
def test_what_is_no_socket_is_left_alone(started, sock, what):
    other = sock.with_name("other")
    if what == "file":
        sock.write_text("precious")
    elif what == "folder":
        sock.mkdir()
    else:
        sock.symlink_to(other)
        if what == "link":
            other.write_text("precious")
    with pytest.raises(ConfigError, match="is there already; remove it"):
        started()
    assert os.path.lexists(sock)
    assert what != "link" or other.read_text() == "precious"


def test_a_link_in_place_of_the_lock_is_not_followed(started, sock):
    victim = sock.with_name("victim")
    victim.write_text("precious")
    sock.with_name("a.sock.lock").symlink_to(victim)
    with pytest.raises((PermissionDenied, Unavailable)):
        started()
    assert victim.read_text() == "precious"


def test_another_program_that_listens_is_left_alone(started, sock):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(sock))
        other.listen()
        with pytest.raises(Unavailable, match="another program listens"):
            started()


def test_a_folder_that_everybody_writes_is_refused(started, sock):
    sock.parent.chmod(0o777)
    with pytest.raises(PermissionDenied, match="every user may replace files there"):
        started()
    sock.parent.chmod(0o1777)
    started()


def test_a_path_that_is_too_long_or_has_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="at most 107"):
        SocketFile(tmp_path / ("x" * 107), 0o600).claim()
    with pytest.raises(ConfigError, match="there is no folder"):
        SocketFile(Path("/nowhere/at/all"), 0o600).claim()


def test_a_removed_socket_is_made_again(started, sock, opened, through):
    started()
    program = opened(through)
    sock.unlink()
    until(sock.is_socket, what="it is there again")
    assert ask_status(sock, timeout=PATIENCE).pid == os.getpid()
    assert program.list("/registry/default/").keys == ()


def test_the_owner_is_checked(started, sock, opened):
    started()
    opened(f"agent+unix://{sock}?owner={os.geteuid()}")
    with pytest.raises(PermissionDenied, match="it runs as user"):
        tenure.connect(f"agent+unix://{sock}?owner={os.geteuid() + 1}")
