"""What the author of a broken plugin reads: the rule, the guarantee, what was done, expected and seen, and no more.

The plugin is the one that ``tenure new-backend`` writes out, with one line of it wrong.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator

import pytest

from tenure._plugins import discovery
from tenure.cli.scaffold.plan import plan

pytest_plugins = ["pytester"]

GUARD = "holds = item is not None and item.mod_revision == precondition.revision"
LEASE = "if deadline <= now]:"
WATCH = "feed = PollingFeed(look, sink,"
DEAF = """told: dict[str, KeyValue] = {}

        def without_deletes() -> Snapshot:
            present = look()
            told.update((item.key, item) for item in present.items)
            return Snapshot(tuple(told[key] for key in sorted(told)), present.revision)

        feed = PollingFeed(without_deletes, sink,"""


@pytest.fixture
def suite_on(pytester: pytest.Pytester) -> Iterator[Callable[..., pytest.RunResult]]:
    """Runs rules on the generated store, with a part of its backend replaced."""

    def run(right: str, wrong: str, *arguments: str) -> pytest.RunResult:
        project = plan("newcomer", scheme=None, url_form="name")
        backend = project.files["tenure_newcomer/backend.py"]
        assert backend.count(right) == 1
        project.files["tenure_newcomer/backend.py"] = backend.replace(right, wrong)
        project.write(pytester.path)
        pytester.syspathinsert()
        discovery.register(importlib.import_module("tenure_newcomer.plugin"), "newcomer")
        return pytester.runpytest_inprocess("-q", "tests", *arguments)

    yield run
    discovery.unregister("newcomer")
    for name in [name for name in sys.modules if name.startswith("tenure_newcomer")]:
        del sys.modules[name]


def failure(result: pytest.RunResult) -> list[str]:
    """The lines between the name of the test that failed and the summary."""
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.startswith("____"))
    end = next(number for number, line in enumerate(lines) if line.startswith("conformance of "))
    return [line for line in lines[start + 1 : end] if line]


def test_a_guard_that_is_ignored(suite_on):
    told = failure(suite_on(GUARD, "holds = item is not None", "-k", "test_kv_replace_needs_the_revision"))
    guarantee = (
        "replace writes only if the key was last put at the given revision, else it is a Conflict without effect."
    )
    assert told[:4] == [
        "rule kv.replace_needs_the_revision is violated",
        f"  guarantee: {guarantee}",
        "  did:       replace at a revision that has passed",
        "  expected:  Conflict is raised",
    ]
    assert told[4].startswith("  seen:      no error; it returned CommitResult(")
    assert len(told) == 5


def test_a_lease_that_never_ends(suite_on):
    told = failure(
        suite_on(LEASE, "if deadline <= now - 1e9]:", "-k", "test_leases_are_extended or test_leases_left_alone")
    )
    assert "rule leases.left_alone_end_in_time is violated" in told
    # A busy machine gets the time that its threads were seen to be late.
    late = r"had to go within 1\.25 s \(and [\d.]+ s for a busy machine\): a reader found it gone not at all"
    assert any(re.search(late, line) for line in told)
    assert "rule leases.are_extended_by_refreshing is violated" in told
    assert "  expected:  its key lives for 1 s more, and then it ends" in told
    assert "  seen:      it was still there at the end" in told


def test_a_watch_that_drops_deletes(suite_on):
    told = failure(suite_on(WATCH, DEAF, "-k", "test_watches_watchers_converge"))
    assert "rule watches.watchers_converge is violated" in told
    assert any("the events lead to KeyValue(" in line and line.endswith("the list has None") for line in told)


def test_what_else_a_plugin_raises_keeps_its_traceback(suite_on):
    result = suite_on(GUARD, "holds = 1 / 0", "-k", "test_kv_replace_needs_the_revision")
    result.stdout.fnmatch_lines(["*ZeroDivisionError*", "*rule kv.replace_needs_the_revision*"])


def test_a_plugin_that_is_not_installed(pytester):
    project = plan("newcomer", scheme=None, url_form="name")
    project.write(pytester.path)
    result = pytester.runpytest_inprocess("-q", "tests", "-k", "test_kv_a_missing or test_kv_a_written")
    told = (
        "opening the store: UnknownScheme: opening a store: no installed plugin serves newcomer://. "
        "Installed: *'pip install'*"
    )
    result.stdout.fnmatch_lines([told, "opening the store: UnknownScheme, as above"])
    assert len(failure(result)) == 7  # two messages, two rules with their guarantees, the name of the second test


def test_a_plugin_that_cannot_import(suite_on):
    result = suite_on("import itertools", "import itertoolz", "-k", "test_kv_a_missing")
    result.stdout.fnmatch_lines(
        ["*PluginError: * failed to open newcomer://*ModuleNotFoundError: No module named 'itertoolz'*"]
    )


def test_all_of_it_where_it_is_asked_for(suite_on):
    told = failure(suite_on(GUARD, "holds = item is not None", "-k", "test_kv_replace_needs", "--tb=long"))
    assert any("context.check.raises" in line for line in told)
    assert len(told) > 20
