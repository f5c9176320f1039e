"""Where a login comes from, and when it is read again."""

from __future__ import annotations

import os

import pytest

from tenure._plugins import url
from tenure.errors import AuthenticationFailed, ConfigError
from tenure.spi import BackendPlugin, Credentials, Login, Secret, SystemClock, UrlForm

from .doubles import ScriptedBackend

PLUGIN = BackendPlugin(
    scheme="demo",
    summary="for tests",
    open=lambda request: ScriptedBackend(),
    url_form=UrlForm.HOSTS,
    spi_version=1,
    default_port=1,
    accepts_credentials=True,
)
OPEN = BackendPlugin(
    scheme="demo", summary="", open=lambda request: ScriptedBackend(), url_form=UrlForm.NAME, spi_version=1
)


def parse(text, plugin=PLUGIN, **arguments):
    return url.parse(text, plugin, timeout=1.0, clock=SystemClock(), **arguments)


def test_the_url_s_own_never_change():
    source = parse("demo://user:secret@host").login_source()
    assert source.current() == Login("user", Secret("secret"))
    assert not source.refused(source.current())
    assert parse("demo://host").login_source().current() == Login(None, None)


def test_a_file_is_read_again_once_its_password_was_refused(tmp_path):
    file = tmp_path / "password"
    file.write_text("old\nmore\n")
    source = parse(f"demo://user@host?password_file={file}").login_source()
    old = source.current()
    assert old == Login("user", Secret("old"))
    assert not source.refused(old)
    file.write_text("new")
    assert source.current() == old
    assert source.refused(old)
    assert source.current() == Login("user", Secret("new"))
    assert source.refused(old)  # another connection had been refused with the old one


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(AuthenticationFailed, match=r"nowhere.*password_file"):
        parse(f"demo://user@host?password_file={tmp_path}/nowhere").login_source().current()
    (tmp_path / "bytes").write_bytes(b"\xff\n")
    with pytest.raises(AuthenticationFailed, match="UTF-8"):
        parse(f"demo://user@host?password_file={tmp_path}/bytes").login_source().current()


def test_a_file_without_an_end_and_a_pipe_without_a_writer_hold_up_no_call(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(AuthenticationFailed, match="no program writes into this pipe"):
        Credentials.from_file("app", str(pipe)).current()
    with pytest.raises(AuthenticationFailed, match="its first line is longer than"):
        Credentials.from_file("app", "/dev/zero").current()
    with pytest.raises(AuthenticationFailed, match="embedded null"):
        Credentials.from_file("app", "/tmp/a\0b").current()
    reader, writer = os.pipe()
    monkeypatch.setattr("tenure.spi.credentials._READING", 0.05)
    with pytest.raises(AuthenticationFailed, match="nothing was written into this pipe within"):
        Credentials.from_file("app", f"/dev/fd/{reader}").current()
    os.write(writer, b"secret\r\nmore")
    assert Credentials.from_file("app", f"/dev/fd/{reader}").current().password.reveal() == "secret"
    os.close(reader)
    os.close(writer)


def test_a_function_is_asked_at_the_first_connection_and_after_a_refusal():
    answers = iter([("user", "old"), ("user", "new")])
    source = parse("demo://host", credentials=lambda: next(answers)).login_source()
    old = source.current()
    assert source.current() is old
    assert source.refused(old)
    assert source.current() == Login("user", Secret("new"))


def test_a_function_that_fails_shows_nothing_secret():
    def fail():
        raise ValueError("hunter2")

    with pytest.raises(AuthenticationFailed, match="ValueError") as caught:
        parse("demo://host", credentials=fail).login_source().current()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("demo://user:secret@host?password_file=/p", {}),
        ("demo://user:secret@host", {"credentials": lambda: (None, None)}),
        ("demo://user@host", {"credentials": lambda: (None, None)}),
        ("demo://host?password_file=/p", {"credentials": lambda: (None, None)}),
    ],
)
def test_a_login_comes_from_one_place(text, arguments):
    with pytest.raises(ConfigError, match="more than once"):
        parse(text, **arguments)


def test_a_store_without_logins_takes_none():
    with pytest.raises(ConfigError, match="takes no user name"):
        parse("demo://name", OPEN, credentials=lambda: ("user", None))
    with pytest.raises(ConfigError, match="password_file"):
        parse("demo://name?password_file=/p", OPEN)


def test_a_secret_shows_nothing():
    assert (repr(Secret("hunter2")), f"{Secret('hunter2')}") == ("Secret(***)", "Secret(***)")
    assert Credentials.fixed("user", Secret("a")).current().password == Secret("a")
