"""The registry page compares names and defaults with those of the Go package: Tenure's side of it is checked here."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import tenure
from tenure import registry
from tenure.registry import Instance, RegistryConfig
from tenure.registry.lifecycle.backoff import FibonacciBackoff

PAGE = (Path(__file__).parents[2] / "core/docs/how-to/registry.md").read_text(encoding="utf-8")
GO = {
    "Current", "Empty", "ErrAlreadyRegistered", "ErrServiceNotFound", "EventHandler", "EventType",
    "Init", "InitWithConfig", "NewInstance", "Registry",
    "Config", "Config.HeartBeatInterval", "Config.Instance", "Config.MaximumRetry", "Config.Name",
    "Interface", "Interface.Deregister", "Interface.GetService", "Interface.GetServices",
    "Interface.RegisterEventHandler",
    "Instance", "Instance.Clone", "Instance.Host", "Instance.HostName", "Instance.Id", "Instance.Identity",
    "Instance.Meta", "Instance.Port", "Instance.ServiceName", "Instance.String", "Instance.WithAddress",
    "Instance.WithMetaData",
    "Service", "Service.Instances", "Service.Len", "Service.Name", "Service.Range",
}  # fmt: skip
"""What v0.3.0 exports, its methods and fields included."""


def rows(name: str) -> list[list[str]]:
    """The cells of each row of a table of the page, without its head."""
    table = PAGE.partition(f"<!-- table: {name} -->\n")[2].partition("<!-- end of table -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def find(path: str) -> object:
    """The object that a name on the page means. Raises ``AttributeError`` if there is none."""
    first, *rest = path.split(".")
    found: object = getattr(registry, first) if hasattr(registry, first) else getattr(tenure, first)
    for name in rest:
        found = getattr(found, name)
    return found


NAMES = rows("go-names")
DEFAULTS = rows("go-defaults")


def test_every_exported_name_of_the_go_package_has_a_row() -> None:
    assert sorted(row[0].strip("`") for row in NAMES) == sorted(GO)


@pytest.mark.parametrize("row", NAMES, ids=[row[0].strip("`") for row in NAMES])
def test_the_counterpart_exists(row: list[str]) -> None:
    ours, difference = row[1], row[2]
    if ours == "-":
        assert difference, "a name without a counterpart needs a reason"
    else:
        find(ours.strip("`"))


@pytest.mark.parametrize("row", DEFAULTS, ids=[row[0] for row in DEFAULTS])
def test_the_default_is_what_the_table_says(row: list[str]) -> None:
    path, value = row[2].strip("`"), ast.literal_eval(row[3].strip("`"))
    owner, _, field = path.partition(".")
    made = {"RegistryConfig": RegistryConfig(), "Instance": Instance()}[owner]
    present = getattr(made, field)
    if callable(present):  # then the default is that of its one argument
        (parameter,) = inspect.signature(present).parameters.values()
        present = parameter.default
    assert present == value
    assert type(present) is type(value)


def test_the_delays_are_what_the_page_says() -> None:
    said = re.search(r"at most ([\d, ]+)\s+seconds in Tenure", PAGE)
    assert said is not None
    expected = [float(number) for number in said[1].split(",")]
    config = RegistryConfig()
    backoff = FibonacciBackoff(first=config.retry_first, longest=config.retry_longest, jitter=0)
    assert [backoff.delay() for _ in expected] == expected


def test_event_types_are_the_go_packages_words() -> None:
    assert [each.value for each in registry.EventType] == ["create", "upsert", "delete"]
