"""`tenure console`: as a process, and what it says where it can't begin."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tenure_console.command import _warnings

import tenure
from tenure.cli.app import cli
from tenure_testkit.waiting import PATIENCE


def command(*arguments: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tenure.cli", "console", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TENURE_URL": url, "PYTHONUNBUFFERED": "1"},
    )


def line_with(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if (found := re.search(pattern, line)) is not None:
            return found[1]
    raise AssertionError(process.communicate(timeout=PATIENCE))


def test_it_serves_until_ctrl_c_and_prints_a_link_for_each_browser(tmp_path: Path) -> None:
    """A page that listens doesn't hold it up."""
    url = f"sqlite://{tmp_path}/db"
    with tenure.connect(url) as store:
        store.put("greeting", b"hello")
    process = command("--port", "0", url=url)
    try:
        link = line_with(process, r"Open (http://127.0.0.1:\d+/enter\?token=\S+)")
        with httpx.Client(follow_redirects=True, timeout=PATIENCE) as client:
            assert client.get(link.partition("/enter")[0]).status_code == 403
            assert "greeting" in client.get(link).text + client.get(link.partition("/enter")[0] + "/keys").text
            second = line_with(process, r"For another one: (\S+)")
            assert second.partition("=")[2] != link.partition("=")[2]
            with client.stream("GET", link.partition("/enter")[0] + "/events") as stream:
                assert next(stream.iter_lines()) == "event: change"
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def refusal(*arguments: str, url: str = "memory://x") -> str:
    """Return the one line that the command says where it can't begin."""
    ended = CliRunner().invoke(cli, ["--url", url, "console", *arguments])
    assert ended.exit_code == 2
    assert len(ended.output.splitlines()) == 1, ended.output
    return ended.output


def test_a_port_that_is_taken_and_a_store_that_is_not_there_are_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refusal("--port", port)
    assert (
        f"listening on 127.0.0.1:{port}: another process listens there, maybe another console; choose another" in said
    )
    assert "nothing" in refusal("--port", "0", url="nothing://here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "a..b"], "listening on a..b:0: this machine knows no address of that name; correct --host"),
        (["--host", ""], "--host is empty; name an address"),
        (["--host-name", "https://ops.example"], "is no host name; give the name alone, such as ops.example"),
        (["--host-name", "ops.example:443"], "is no host name; give the name alone, such as ops.example"),
    ],
)
def test_an_address_that_can_t_be_is_said_with_the_option_to_correct(arguments: list[str], words: str) -> None:
    assert words in refusal("--port", "0", *arguments)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "this user may not listen on that port; choose a --port above 1023 (0: any free one)"),
        (errno.EADDRNOTAVAIL, "this machine has no such address; name one of its own by --host"),
        (socket.EAI_NONAME, "this machine knows no address of that name; correct --host"),
        (errno.ENOBUFS, "as the system says it; choose another --port or --host"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_option_to_correct(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise OSError(number, "as the system says it")

    monkeypatch.setattr(socket, "create_server", refuse)
    assert f"listening on [2001:db8::1]:80: {words}" in refusal("--host", "[2001:db8::1]", "--port", "80")


def test_what_the_person_should_know_before_the_link(store: tenure.Store, tmp_path: Path) -> None:
    alone, exposed, unnamed = _warnings(store, "0.0.0.0", ())
    assert f"no other program can use {store.url}" in alone
    assert "put a proxy with TLS before it" in exposed
    assert "name by --host-name each name or address" in unnamed
    with tenure.connect(f"sqlite://{tmp_path}/db") as shared:
        assert list(_warnings(shared, "::1", ())) == list(_warnings(shared, "localhost", ())) == []
        assert list(_warnings(shared, "0.0.0.0", ("ops.example",))) == [exposed]
        assert len(list(_warnings(shared, "192.0.2.1", ()))) == 1  # browsers use this address, as the link has it


def test_json_gives_the_link_to_a_program(tmp_path: Path) -> None:
    process = command("--port", "0", "--json", "--host", "localhost", url=f"sqlite://{tmp_path}/db")
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["writes"] is False
        assert httpx.get(said["url"], follow_redirects=True, timeout=PATIENCE).status_code == 200
    finally:
        process.kill()
        process.communicate()


def test_the_help_page_imports_no_server() -> None:
    code = (
        "import sys; from tenure_console.command import console; from tenure_console.terminal.command import top; "
        "print([name for name in ('starlette', 'uvicorn', 'jinja2', 'textual', 'asyncio') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert ended.stdout == "[]\n"
