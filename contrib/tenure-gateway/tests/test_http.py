"""The HTTP interface without a server: paths, choices, hostile names, and the age of what is served."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tenure_gateway.directory import Sight
from tenure_gateway.serve.http import HttpInterface

from tenure.registry import Instance

HOSTILE = 'a/b?\n"\u202e<script>'
SIGHT = Sight(
    {
        HOSTILE: (
            Instance("x", id=HOSTILE.replace("/", ""), host="::1", port=80, meta={"a b": HOSTILE, "n": 1.5, "l": [1]}),
        ),
        "web": (
            Instance("web", id="1", host="10.0.0.1", port=80, meta={"zone": "a"}),
            Instance("web", id="2", host="10.0.0.2", port=80, meta={"zone": "b"}).with_status("draining"),
        ),
    },
    age=12.34,
)


def get(
    path: str, query: str = "", *, method: str = "GET", sight: Sight | None = SIGHT
) -> tuple[int, bytes, dict[bytes, bytes]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    asyncio.run(HttpInterface(lambda: sight)(scope, None, send))
    start, body = sent
    return start["status"], body["body"], dict(start["headers"])


@pytest.mark.parametrize(
    ("query", "ids"), [("", ["1", "2"]), ("ready=1", ["1"]), ("zone=b", ["2"]), ("zone=a&zone=b", ["1", "2"])]
)
def test_instances_are_chosen(query: str, ids: list[str]) -> None:
    status, body, headers = get("/services/web", query)
    assert (status, [each["id"] for each in json.loads(body)]) == (200, ids)
    assert headers[b"tenure-age"] == b"12.3"


def test_a_hostile_name_is_found_and_written_as_plain_ascii() -> None:
    status, body, _ = get("/services/a%2Fb%3F%0A%22%E2%80%AE%3Cscript%3E")
    assert (status, body.isascii(), len(json.loads(body))) == (200, True, 1)
    status, body, headers = get("/prometheus")
    assert (body.isascii(), headers[b"content-type"]) == (True, b"application/json")
    hostile, *_ = json.loads(body)
    assert hostile["targets"] == ["[::1]:80"]
    assert {name for name in hostile["labels"] if "_meta_tenure_meta_" in name} == {
        "__meta_tenure_meta_a_b",
        "__meta_tenure_meta_n",
    }


def test_what_cannot_be_answered_has_its_status() -> None:
    assert get("/services/nobody")[0] == get("/")[0] == get("/services/")[0] == 404
    assert get("/services", sight=None)[0] == 503
    assert b"tenure-age" not in get("/services", sight=None)[2]
    status, _, headers = get("/services", method="DELETE")
    assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    status, body, headers = get("/services", method="HEAD")
    assert (status, body, int(headers[b"content-length"]) > 2) == (200, b"", True)
