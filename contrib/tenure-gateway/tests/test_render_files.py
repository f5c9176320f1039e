"""Files: replaced as a whole, only when changed, checked before; commands with a deadline, tried again if they fail."""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from recording import Recorder
from tenure_gateway.directory import Sight
from tenure_gateway.render.commands import run
from tenure_gateway.render.keys import FollowedKeys
from tenure_gateway.render.output_file import OutputFile
from tenure_gateway.render.plan import Job, Plan, read_plan
from tenure_gateway.render.renderer import Renderer

import tenure
from tenure.errors import ConfigError
from tenure.registry import Instance
from tenure_testkit.waiting import until


class Bench:
    """One template ``name=<instances> <key>`` and its file, rendered when the test says so."""

    def __init__(self, folder: Path, keys: FollowedKeys) -> None:
        self.folder = folder
        self.out = folder / "out.conf"
        self.told = Recorder()
        self._keys = keys
        (folder / "in.j2").write_text("{% for i in service('web') %}{{ i.id }},{% endfor %}{{ key('color', '') }}\n")

    def renderer(self, *, check: str | None = None, command: str | None = None, deadline: float = 30.0) -> Renderer:
        job = Job(self.folder / "in.j2", self.out, check, command)
        return Renderer(Plan((job,), deadline=deadline), self.told)

    def render(self, renderer: Renderer, *ids: str) -> bool:
        instances = tuple(Instance("web", id=each, host="10.0.0.1") for each in ids)
        return renderer.render(Sight({"web": instances}), self._keys)


@pytest.fixture
def bench(tmp_path: Path, tenure_store: tenure.Store) -> Iterator[Bench]:
    keys = FollowedKeys(tenure_store, lambda: None)
    yield Bench(tmp_path, keys)
    keys.close()


def test_a_file_is_replaced_only_if_its_content_changes(bench: Bench) -> None:
    renderer = bench.renderer(command=f"echo x >> {bench.folder}/runs")
    assert bench.render(renderer, "1")
    node = bench.out.stat().st_ino
    assert bench.told.take() == ["rendered", "executed"]
    assert bench.render(renderer, "1")
    assert bench.told.take() == []
    assert bench.out.stat().st_ino == node
    assert bench.render(renderer, "1", "2")
    assert bench.out.read_text() == "1,2,\n"
    assert bench.out.stat().st_ino != node
    assert (bench.folder / "runs").read_text() == "x\nx\n"
    assert sorted(path.name for path in bench.folder.iterdir()) == ["in.j2", "out.conf", "runs"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file, seen, ended = OutputFile(tmp_path / "out"), set[bytes](), threading.Event()
    contents = [str(number % 10).encode() * 200_000 for number in range(50)]

    def read() -> None:
        while not ended.is_set():
            seen.add(file.path.read_bytes())

    with file.candidate(contents[0]) as candidate:
        file.replace(candidate, due=False)
    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        with file.candidate(content) as candidate:
            file.replace(candidate, due=False)
    ended.set()
    reader.join()
    assert seen
    assert seen <= set(contents)


def test_mode_and_owner_stay_and_a_link_keeps_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    if os.geteuid() == 0:
        os.chown(target, 12345, 54321)
    before = target.stat()
    file = OutputFile(link)
    with file.candidate(b"new") as candidate:
        assert candidate.parent == tmp_path
        file.replace(candidate, due=False)
    after = target.stat()
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_new_file_has_the_mode_asked_for(tmp_path: Path) -> None:
    for mode, expected in ((None, 0o644), (0o600, 0o600)):
        file = OutputFile(tmp_path / f"{mode}", mode)
        with file.candidate(b"") as candidate:
            file.replace(candidate, due=False)
        assert stat.S_IMODE(file.path.stat().st_mode) == expected


def test_what_the_check_refuses_changes_nothing_and_is_not_checked_again_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure_gateway.render.renderer._FIRST_PAUSE", 600.0)
    counted = f"echo x >> {bench.folder}/checks"
    renderer = bench.renderer(check=f"{counted}; grep -q 1, {{}} || {{ echo no one in {{}}; false; }}", command="true")
    assert bench.render(renderer, "1")
    bench.told.take()
    for _ in range(2):
        assert not bench.render(renderer, "2")
    assert bench.out.read_text() == "1,\n"
    ((kind, message),) = bench.told.events
    assert kind == "refused"
    assert f"no one in {bench.out}" in message
    assert (bench.folder / "checks").read_text() == "x\nx\n"
    assert bench.render(renderer, "1", "2")


def test_what_the_check_refuses_is_checked_again_later_and_told_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure_gateway.render.renderer._FIRST_PAUSE", 0.0)
    renderer = bench.renderer(check=f": {{}}; test -e {bench.folder}/resolves")
    for _ in range(3):
        assert not bench.render(renderer, "1")
        assert renderer.next_attempt() <= monotonic()
    assert bench.told.take() == ["refused"]
    (bench.folder / "resolves").touch()
    assert bench.render(renderer, "1")
    assert bench.told.take() == ["rendered"]
    assert renderer.next_attempt() == math.inf


def test_what_the_system_refuses_is_tried_again(bench: Bench) -> None:
    bench.out.mkdir()
    renderer = bench.renderer()
    assert not bench.render(renderer, "1")
    assert renderer.next_attempt() < math.inf
    bench.out.rmdir()
    assert bench.render(renderer, "1")
    assert bench.told.take() == ["failed", "rendered"]


def test_a_template_that_fails_changes_nothing_and_is_told_once(bench: Bench) -> None:
    renderer = bench.renderer()
    assert bench.render(renderer, "1")
    bench.told.take()
    for _ in range(2):
        assert not bench.render(renderer, "1", "2; evil")
    assert bench.told.take() == ["failed"]
    assert bench.out.read_text() == "1,\n"


def test_a_command_that_fails_is_due_until_it_succeeds_also_for_the_next_process(bench: Bench) -> None:
    command = f"test -e {bench.folder}/ready"
    first = bench.renderer(command=command)
    assert not bench.render(first, "1")
    assert bench.told.take() == ["rendered", "failed"]
    assert not first.run_due()
    assert bench.told.take() == []  # not before the pause is over
    assert monotonic() < first.next_attempt() < monotonic() + 10
    (bench.folder / "ready").touch()
    second = bench.renderer(command=command)
    assert bench.render(second, "1")
    assert bench.told.take() == ["executed"]


def test_a_command_shared_by_files_runs_once(bench: Bench) -> None:
    command = f"echo x >> {bench.folder}/runs"
    jobs = tuple(Job(bench.folder / "in.j2", bench.folder / f"out{number}", None, command) for number in range(3))
    renderer = Renderer(Plan(jobs), bench.told)
    assert bench.render(renderer, "1")
    assert (bench.folder / "runs").read_text() == "x\n"


def test_a_command_has_a_deadline_and_takes_its_children_along(tmp_path: Path) -> None:
    outcome = run(f"sleep 600 & echo $! > {tmp_path}/child; wait", deadline=0.5)
    assert "killed" in outcome.problem
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"

    def ended() -> bool:
        try:
            return child.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    until(ended, what="the child is gone")


def test_a_command_has_little_time_once_the_program_is_asked_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenure_gateway.render.commands._AFTER_STOP", 0.1)
    outcome = run("echo begun; sleep 600", deadline=600, stopping=lambda: True)
    assert "killed" in outcome.problem
    assert outcome.output == "begun"


def test_a_server_that_a_command_leaves_behind_holds_nobody_up() -> None:
    outcome = run("sleep 2 & echo started; echo more >&2", deadline=30)
    assert (outcome.problem, outcome.output) == ("", "started\nmore")
    assert outcome.seconds < 2


def test_templates_are_read_again_and_a_broken_one_stays_as_it_was(bench: Bench) -> None:
    renderer = bench.renderer()
    bench.render(renderer, "1")
    (bench.folder / "in.j2").write_text("{% broken")
    renderer.reload()
    assert bench.told.take() == ["rendered", "failed"]
    bench.render(renderer, "1", "2")
    assert bench.out.read_text() == "1,2,\n"
    (bench.folder / "in.j2").write_text("new\n")
    renderer.reload()
    bench.render(renderer, "1", "2")
    assert bench.out.read_text() == "new\n"


def test_views_of_keys_follow_and_end_with_the_template_that_asks(tenure_store: tenure.Store) -> None:
    changes: list[None] = []
    keys = FollowedKeys(tenure_store, lambda: changes.append(None))
    assert keys.key("a") is None
    assert keys.keys("p/") == {}
    tenure_store.put("a", b"1")
    tenure_store.put("p/x", b"2")

    def read() -> bool:
        found = (keys.key("a"), keys.keys("p/"))
        keys.end_pass()
        return found == ("1", {"x": "2"})

    assert (keys.key("a"), keys.keys("p/")) == (None, {})  # as before: the pass hasn't ended
    until(read, what="the next pass has the values")
    assert changes
    keys.end_pass()
    keys.end_pass()
    assert not keys._values
    assert not keys._prefixes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no template"),
        ("[[template]]\nsource = 'a'", "'out' of template 1 is missing"),
        ("intervall = 1", "did you mean 'interval'"),
        ("[[template]]\nsource = 'a'\nout = 'b'\nzzz = 'c'", "there are source, out, check, exec, mode"),
        ("[[template]]\nsource = 1\nout = 'b'", "'source' of template 1 is text, not 1"),
        ("[[template]]\nsource = 'a'\nout = 'b'\nmode = '0999'", "octal"),
        ("interval = -1\n[[template]]\nsource = 'a'\nout = 'b'", "interval"),
        ("[[template]]\nsource = 'a'\nout = 'b'\n[[template]]\nsource = 'c'\nout = 'b'", "the same file"),
        ("[[template", "Expected"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "render.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert said in str(caught.value)


def test_the_example_configuration_is_read(tmp_path: Path) -> None:
    plan = read_plan(Path(__file__).parents[1] / "examples/render.toml")
    assert [job.out.name for job in plan.jobs] == ["nginx.conf", "haproxy.cfg", "envoy-eds.json"]
    assert plan.jobs[0].command == "nginx -s reload"


def test_no_file_takes_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no file can take its place"), OutputFile(tmp_path / "pipe").candidate(b""):
        pass
    assert os.listdir(tmp_path) == ["pipe"]
