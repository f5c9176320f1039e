"""Behind pgbouncer: session mode works as the server itself does; other modes are refused in words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from pgbouncer import Pgbouncer
from postgresql_server import PostgresqlServer
from tenure_postgresql.connection import ConnectionBroken, ServerError
from tenure_postgresql.session import require_own

import tenure
from tenure._client.opening import prepare
from tenure.diagnosis import examine
from tenure.errors import ConfigError, TenureError
from tenure.plugin_kit import Deadline
from tenure.spi import Verdict


@pytest.fixture
def pooler(server: PostgresqlServer) -> Iterator[Callable[[str], Pgbouncer]]:
    started: list[Pgbouncer] = []

    def start(mode: str) -> Pgbouncer:
        started.append(Pgbouncer(server, mode))
        return started[-1].start()

    yield start
    for one in started:
        one.remove()


def test_the_diagnosis_names_the_pooler(pooler, schema, url) -> None:
    def proxies(place: str) -> list[str]:
        found = examine(prepare(place, timeout=10), samples=1)
        assert found.of(Verdict.FAILED) == []
        return [check.advice for check in found.checks if check.name == "proxy"]

    assert proxies(url) == []
    [advice] = proxies(pooler("session").url(schema))
    assert "pool_size" in advice


def test_a_pooler_in_session_mode_changes_nothing(pooler, schema, url) -> None:
    through = pooler("session").url(schema)
    with tenure.connect(url, timeout=10) as near, tenure.connect(through, timeout=10) as far:
        wrong: list[object] = []

        def work(name: str) -> None:
            for number in range(20):
                try:
                    far.put(name, str(number).encode())
                    if far.get(name).value != str(number).encode():
                        wrong.append(name)
                except TenureError as exc:
                    wrong.append(exc)

        threads = [threading.Thread(target=work, args=(f"k/{name}",)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        with far.watch("w/") as watch:
            watch.next(10)
            watch.next(10)
            near.put("w/1", b"x")
            assert [event.key for event in watch.next(10).events] == ["w/1"]


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_another_mode_is_refused_in_words(pooler, schema, mode) -> None:
    through = pooler(mode).url(schema)
    with pytest.raises(ConfigError, match="pool_mode=session"):
        tenure.connect(through, timeout=10)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionBroken("terminating connection due to administrator command", state="57P01"),
        ConnectionBroken("server closed the connection unexpectedly"),
        ServerError("57014", "canceling statement due to statement timeout"),
    ],
    ids=["stopping", "cut", "cancelled"],
)
def test_a_server_that_fails_is_no_pooler(error) -> None:
    """The soak saw `set pool_mode=session` said of a server that was being restarted."""

    class Failing:
        where = "127.0.0.1:5432/postgres"

        def ask(self, *_: object, **__: object) -> object:
            raise error

    with pytest.raises(type(error)) as seen:
        require_own(Failing(), lambda: pytest.fail("a second connection"), Deadline(10.0))
    assert seen.value is error


def test_sessions_that_others_left_in_the_pool_hide_nothing(pooler, schema) -> None:
    one = pooler("transaction")

    words = {"host": "127.0.0.1", "port": one.port, "user": "postgres", "dbname": "postgres"}
    others = [psycopg.connect(**words) for _ in range(6)]
    for other in others:  # each in a transaction, so that the pool has as many sessions
        other.execute("SELECT 1")
    for other in others:
        other.commit()
    try:
        with pytest.raises(ConfigError, match="pool_mode=session"):
            tenure.connect(one.url(schema), timeout=10)
    finally:
        for other in others:
            other.close()
