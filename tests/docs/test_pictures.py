"""The pictures are what the code's own tables say, and every picture is on a page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tenure.registry import Status
from tenure.registry.lifecycle.state import TRANSITIONS
from tenure.watch.machine import TRANSITIONS as WATCH_TRANSITIONS
from tenure.watch.machine import WatchState

DOCS = Path(__file__).parents[2] / "core/docs"
sys.path.insert(0, str(DOCS))

import benchmark_pictures  # noqa: E402 - its folder was put on the path above
import make_pictures  # noqa: E402 - its folder was put on the path above

OF_OTHER_PARTS = {Status.FOLLOWING, Status.HEALTHY, Status.UNHEALTHY}
"""Statuses of the cache and of the health; the picture shows the registration."""


def test_pictures_are_up_to_date() -> None:
    assert make_pictures.main(["--check"]) == 0, "python core/docs/make_pictures.py draws them"


def test_every_picture_is_on_a_page() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    pages += (DOCS.parents[1] / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"!\[[^\]]+\]\([^)]*images/([\w-]+\.svg)\)", pages))
    assert shown == {path.name for path in (DOCS / "images").glob("*.svg")}


def test_the_registration_shows_every_state_and_transition() -> None:
    picture = make_pictures.registration().svg()
    assert set(TRANSITIONS) == set(make_pictures._PLACES) == set(Status) - OF_OTHER_PARTS
    wanted = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    assert set(make_pictures._WAYS) == wanted
    assert picture.count("marker-end") == len(wanted)


def test_the_watch_shows_every_state_and_transition() -> None:
    picture = make_pictures.watch().svg()
    assert set(WATCH_TRANSITIONS) == set(make_pictures._WATCH_PLACES) == set(WatchState)
    wanted = {(source, target) for source, targets in WATCH_TRANSITIONS.items() for target in targets}
    assert set(make_pictures._WATCH_WAYS) == wanted
    assert picture.count("marker-end") == len(wanted)


def test_benchmarks_show_each_number_of_the_last_record() -> None:
    numbers = benchmark_pictures.last_record()["numbers"]
    drawn = make_pictures.ratios().svg() + make_pictures.growth().svg()
    for name, found in numbers.items():
        if "low" in found or "exponent" in found:
            assert name.removeprefix("growth ").partition(" ")[2] in drawn
