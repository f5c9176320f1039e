"""The rule for tests whose database is not there: skip, and say so loudly; or fail, where it was demanded.

TENURE_REQUIRE    `all`, or database names with commas between (`etcd`): what is named must be tested, so a reason
                     to skip becomes a failure
TENURE_ETCD_URL   test against this running server in place of a container; tests that must kill, freeze or
                     restart the server have no way to, and count as not tested
"""

import importlib.util
import os
from typing import NoReturn

import pytest

_REQUIRE = "TENURE_REQUIRE"
_missing: dict[str, dict[str, None]] = {}


def is_required(database: str) -> bool:
    """Whether TENURE_REQUIRE demands that this database is tested."""
    named = {name.strip() for name in os.environ.get(_REQUIRE, "").split(",")}
    return bool(named & {"all", database})


def given_url(database: str) -> str | None:
    """The URL of a running server to test against, if the environment names one."""
    return os.environ.get(f"TENURE_{database.upper()}_URL") or None


def not_tested(database: str, why: str) -> NoReturn:
    """End the calling test or fixture: a skip that the last line of the run tells of, or a failure if demanded."""
    if is_required(database):
        pytest.fail(f"{database} must be tested ({_REQUIRE}={os.environ[_REQUIRE]}), but {why}", pytrace=False)
    # The rest of a long reason is for the failure above; the summary is one line.
    why = why.splitlines()[0]
    _missing.setdefault(database, {})[why] = None
    pytest.skip(f"{database} is not tested: {why}")


def need_module(database: str, module: str) -> None:
    """Apply the rule where a database's tests need a module that may not be installed."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        not_tested(database, f"the module {module} is not installed (pip install 'tenure[{database}]')")


def summary() -> str | None:
    """One line on what was not tested and how to get it tested; None when nothing was missing."""
    if not _missing:
        return None
    from tenure_testkit.servers.engine import HOW_TO_GET_ONE

    told = "; ".join(f"{database} ({'; '.join(reasons)})" for database, reasons in sorted(_missing.items()))
    urls = [f"TENURE_{database.upper()}_URL" for database in sorted(_missing) if not given_url(database)]
    ways = " or ".join([HOW_TO_GET_ONE, *(f"set {url}" for url in urls)])
    return f"NOT FULLY TESTED: {told}. To test it: {ways}; {_REQUIRE}=all makes this a failure."
