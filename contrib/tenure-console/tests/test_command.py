"""`tenure console`, as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

import tenure
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


def test_a_port_that_is_taken_and_a_store_that_is_not_there_are_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = command("--port", str(taken.getsockname()[1]), url=f"sqlite://{tmp_path}/db")
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "choose another --port" in said
    assert "Traceback" not in said
    process = command("--port", "0", url="nothing://here")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert len(said.splitlines()) == 1


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
