"""Each event is logged when it happens, with its level and exactly its fields."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from everything import happen
from tenure_telemetry.events import COMMON, EVENTS, EventLog

import tenure
from tenure.hookspecs import ObservedStore, Outcome

PAGE = Path(__file__).parents[1] / "README.md"
ADDITIONAL = {"db.namespace", "server.address", "server.port"}
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def logger_with(handler: logging.Handler, level: int = logging.DEBUG) -> logging.Logger:
    logger = logging.Logger("events", level)  # noqa: LOG001 - one of the test's own
    logger.addHandler(handler)
    return logger


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


@pytest.fixture(scope="module")
def records() -> list[logging.LogRecord]:
    kept = Kept()
    happen(EventLog(logger_with(kept)))
    slow = EventLog(logger_with(kept))
    slow.tenure_operation_finished(ObservedStore("a://b", "a"), "get", 2.0, Outcome.DONE, None, 1)
    return kept.records


def test_each_event_was_logged(records: list[logging.LogRecord]) -> None:
    assert {vars(record)["event.name"] for record in records} == set(EVENTS)


def test_each_record_has_its_level_its_fields_and_a_text(records: list[logging.LogRecord]) -> None:
    for record in records:
        fields = fields_of(record)
        event = EVENTS[str(fields["event.name"])]
        optional = {"error.type", "error.message"} if event.name == "tenure.lock.given_up" else set()
        assert record.levelno == event.level
        assert fields.keys() - ADDITIONAL - optional == {*COMMON, *event.fields}
        assert "{" not in record.getMessage()


def test_texts_tell_what_happened(records: list[logging.LogRecord]) -> None:
    texts = {vars(record)["event.name"]: record.getMessage() for record in records}
    assert re.fullmatch(r"holding the \w+ 'secret-job' after \d+\.\d{3} s", texts["tenure.lock.held"])
    assert re.fullmatch(
        r"lease \w+ is lost: no refresh .+ for \d+\.\d{3} s, the TTL is 9 s(: .+)?", texts["tenure.lease.lost"]
    )
    assert re.fullmatch(r"refresh failed after 1 attempts and \d+\.\d{3} s: .+", texts["tenure.operation.failed"])


def test_a_conflict_is_no_event(records: list[logging.LogRecord]) -> None:
    assert "Conflict" not in {vars(record).get("error.type") for record in records}


def test_the_page_has_the_table_of_events() -> None:
    found = re.findall(r"^\| `(tenure\.[\w.]+)` \| (\w+) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    table = {name: (level, set(re.findall(r"`([\w.]+)`", fields))) for name, level, fields in found}
    expected = {
        event.name: (logging.getLevelName(event.level), set(event.fields) - {"event.name"}) for event in EVENTS.values()
    }
    assert table == expected


def test_a_level_that_is_off_costs_no_record() -> None:
    kept = Kept()
    with tenure.connect("memory://", observers=[EventLog(logger_with(kept, logging.WARNING))]) as store:
        store.put("key", b"")
    assert kept.records == []
