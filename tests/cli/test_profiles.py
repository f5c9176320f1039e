"""Where options come from: the command line, variables, and profiles of the configuration file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import tenure

from .conftest import Run


@pytest.fixture
def prod() -> Iterator[tuple[str, tenure.Store]]:
    """Another store than that of TENURE_URL, with a key."""
    url = f"memory://{uuid.uuid4().hex}"
    with tenure.connect(url) as opened:
        opened.put("where", b"prod")
        yield url, opened


@pytest.fixture
def config(tmp_path: Path, prod: tuple[str, tenure.Store]) -> str:
    path = tmp_path / "config.toml"
    path.write_text(
        f"""
        [profiles.prod]
        url = "{prod[0]}"

        [profiles.prod.kv.list]
        keys-only = true

        [profiles.prod.run]
        heartbeat = "soon"

        [profiles.spelling.watch]
        chagnes = 1
        """
    )
    return str(path)


@pytest.mark.parametrize(
    "arguments", [["--profile", "prod", "kv", "get", "where"], ["kv", "get", "where", "--profile", "prod"]]
)
def test_a_profile_named_on_the_command_line_wins_over_variables(run: Run, config: str, arguments: list[str]) -> None:
    assert run("--config", config, *arguments).stdout == "prod"
    assert run(*arguments, TENURE_CONFIG=config, TENURE_KV_GET_URL="memory://other").stdout == "prod"


def test_a_url_on_the_command_line_wins_over_the_profile(run: Run, config: str, url: str, store: tenure.Store) -> None:
    store.put("where", b"here")
    assert run("--profile", "prod", "--url", url, "kv", "get", "where", TENURE_CONFIG=config).stdout == "here"


def test_a_variable_wins_over_a_profile_that_was_not_named(run: Run, config: str, store: tenure.Store) -> None:
    store.put("where", b"here")
    default = Path(config)
    default.write_text('profile = "prod"\n' + default.read_text())
    assert run("kv", "get", "where", TENURE_CONFIG=config).stdout == "here"
    assert run("kv", "get", "where", TENURE_CONFIG=config, TENURE_PROFILE="prod").stdout == "here"
    assert run("kv", "get", "where", TENURE_CONFIG=config, TENURE_URL="").stdout == "prod"


def test_a_profile_has_options_of_commands(run: Run, config: str) -> None:
    assert run("--profile", "prod", "kv", "list", TENURE_CONFIG=config).stdout == "where\n"


def test_every_option_has_a_variable(run: Run, store: tenure.Store) -> None:
    store.put("a", b"1")
    store.put("b", b"2")
    assert run("kv", "list", TENURE_KV_LIST_KEYS_ONLY="1", TENURE_KV_LIST_LIMIT="1").stdout == "a\n"
    wrong = run("kv", "list", TENURE_KV_LIST_LIMIT="many")
    assert wrong.exit_code == 2
    assert "TENURE_KV_LIST_LIMIT" in wrong.stderr
    assert "TENURE_TIMEOUT" in run("services", TENURE_TIMEOUT="soon").stderr
    assert run("kv", "list", "--keys-only", TENURE_VERSION="1").stdout == "a\nb\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "prd", "services"], ["no profile 'prd'", "did you mean 'prod'?"]),
        (["--profile", "prod", "run", "web", "--port", "1", "--", "true"], ["'soon'", "the profile 'prod' in"]),
        (["--profile", "spelling", "watch"], ["no option 'chagnes'", "did you mean 'changes'?"]),
        (["--config", "/nowhere/x.toml", "services"], ["/nowhere/x.toml", "isn't there"]),
    ],
)
def test_mistakes_say_what_was_meant(run: Run, config: str, arguments: list[str], words: list[str]) -> None:
    result = run(*arguments, TENURE_CONFIG=config)
    assert result.exit_code == 2
    assert [word for word in words if word not in result.stderr] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profles = {}", "did you mean 'profiles'?"),
        ("profiles = 3", "[profiles.NAME]"),
        ("[profiles.prod]\nulr = 'x'", "did you mean 'url'?"),
        ("[profiles", "correct the file"),
    ],
)
def test_a_file_that_is_wrong_says_where(run: Run, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    result = run("--config", str(path), "--profile", "prod", "services")
    assert (result.exit_code, str(path) in result.stderr, words in result.stderr) == (2, True, True), result.stderr


def test_a_password_that_others_may_read_is_told(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[profiles.prod]\nurl = 'memory://user:secret@x'\n")
    path.chmod(0o644)
    open_to_all = run("--config", str(path), "--profile", "prod", "services")
    path.chmod(0o600)
    private = run("--config", str(path), "--profile", "prod", "services")
    assert ("chmod 600" in open_to_all.stderr, "chmod 600" in private.stderr) == (True, False)
    assert "secret" not in open_to_all.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["servcies"], "did you mean 'services'?"),
        (["gte"], "did you mean 'tenure kv get'?"),
        (["kv", "lsit"], "did you mean 'list'?"),
        (["locks", "relaese"], "did you mean 'release'?"),
        (["services", "--jsn"], "--json"),
        (["conformance", "run", "memory://x", "--area", "leeses"], "did you mean 'leases'?"),
        (
            ["conformance", "run", "memory://x", "--rule", "kv.values_are_binary_save"],
            "did you mean 'kv.values_are_binary_safe'?",
        ),
        (["--url", "memori://x", "services"], "memory://"),
        (["--url", "memory://x?timout=1", "services"], "did you mean 'timeout'?"),
    ],
)
def test_typos_are_understood(run: Run, arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_without_a_url_it_says_which_store_this_is(run: Run, tmp_path: Path) -> None:
    """A newcomer, or somebody whose variable was not passed on, otherwise sees an empty registry and no reason."""
    places = {"TENURE_URL": "", "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    plain, as_json = run("services", **places), run("services", "--json", **places)
    assert "no store was named" in plain.stderr
    assert "TENURE_URL" in plain.stderr
    assert as_json.stderr == ""
    assert run("healthy", "--quiet", **places).stderr == ""
    assert run("run", "web", "--port", "1", "--quiet", "--", "true", **places).stderr == ""
