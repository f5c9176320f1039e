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
        import leasehold
        import pytest

        def test_one(leasehold_store, leasehold_connect, leasehold_url, leasehold_faults, leasehold_clock):
            assert leasehold_store.get("a") is None
            leasehold_store.put("a", b"")
            assert leasehold_connect(timeout=1).get("a") is not None
            with leasehold.connect(leasehold_url) as store:
                assert store.clock is leasehold_clock
                lease = store.lease(5)
                leasehold_faults.lose(lease)
                assert not lease.alive

        def test_the_next_has_a_store_of_its_own(leasehold_sandbox, leasehold_store):
            assert leasehold_store.get("a") is None
            assert leasehold_store.url == leasehold_sandbox.url
        """
    )
    project.runpytest_subprocess().assert_outcomes(passed=2)


def test_another_store_by_overriding_one_fixture(project):
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(params=[None, "sqlite:///{}/state.db"], ids=["embedded", "sqlite"])
        def leasehold_sandbox_url(request, tmp_path):
            return request.param and request.param.format(tmp_path)
        """
    )
    project.makepyfile(
        """
        from leasehold import OutcomeUnknown
        import pytest

        def test_it(leasehold_store, leasehold_faults):
            leasehold_faults.next_write_unknown(applied=True)
            with pytest.raises(OutcomeUnknown):
                leasehold_store.put("a", b"1")
            assert leasehold_store.get("a").value == b"1"
        """
    )
    project.runpytest_subprocess("-v").assert_outcomes(passed=2)


def test_a_fault_that_never_happened_is_an_error_of_a_test_that_passed(project):
    project.makepyfile(
        """
        def test_vacuous(leasehold_store, leasehold_faults):
            leasehold_faults.next_write_unknown(applied=True)

        def test_failed_before(leasehold_store, leasehold_faults):
            leasehold_faults.next_write_unknown(applied=True)
            assert False
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*UnusedFault: scripted and never happened: lose the answer of a write*"])


def test_the_plugin_costs_a_run_that_does_not_use_it_next_to_nothing(project):
    code = """
import sys, pytest, leasehold.conformance.pytest_plugin
before = set(sys.modules)
import leasehold.testing.fixtures
print(*sorted(set(sys.modules) - before))
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["leasehold.testing", "leasehold.testing.fixtures"]
