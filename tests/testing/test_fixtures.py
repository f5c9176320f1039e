"""The fixtures, as a project of somebody else uses them: nothing imported, nothing configured."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error")
    return pytester


def test_they_are_there_without_a_line_of_configuration(project):
    project.makepyfile(
        """
        import tenure
        import pytest

        def test_one(tenure_store, tenure_connect, tenure_url, tenure_faults, tenure_clock):
            assert tenure_store.get("a") is None
            tenure_store.put("a", b"")
            assert tenure_connect(timeout=1).get("a") is not None
            with tenure.connect(tenure_url) as store:
                assert store.clock is tenure_clock
                lease = store.lease(5)
                tenure_faults.expire_lease(lease)
                assert not lease.alive

        def test_the_next_has_a_store_of_its_own(tenure_sandbox, tenure_store):
            assert tenure_store.get("a") is None
            assert tenure_store.url == tenure_sandbox.url
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_another_store_by_overriding_one_fixture(project):
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(params=[None, "sqlite:///{}/state.db"], ids=["embedded", "sqlite"])
        def tenure_sandbox_url(request, tmp_path):
            return request.param and request.param.format(tmp_path)
        """
    )
    project.makepyfile(
        """
        from tenure import OutcomeUnknown
        import pytest

        def test_it(tenure_store, tenure_faults):
            tenure_faults.next_write_unknown(applied=True)
            with pytest.raises(OutcomeUnknown):
                tenure_store.put("a", b"1")
            assert tenure_store.get("a").value == b"1"
        """
    )
    project.runpytest_subprocess("-v").assert_outcomes(passed=2)


def test_a_fault_that_never_happened_is_an_error_of_a_test_that_passed(project):
    project.makepyfile(
        """
        def test_vacuous(tenure_store, tenure_faults):
            tenure_faults.next_write_unknown(applied=True)

        def test_failed_before(tenure_store, tenure_faults):
            tenure_faults.next_write_unknown(applied=True)
            assert False
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*UnusedFault: *scripted and never happened: lose the answer of a write*"])


def test_the_plugin_costs_a_run_that_does_not_use_it_next_to_nothing(project):
    code = """
import sys, pytest, tenure.conformance.pytest.plugin
before = set(sys.modules)
import tenure.testing.fixtures
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["tenure.testing", "tenure.testing.fixtures"]
