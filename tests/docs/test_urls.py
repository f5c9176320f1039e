"""URLs with options that the pages show are URLs that Tenure takes: the options exist, and the values are valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenure import SystemClock
from tenure._plugins import discovery, url

DOCS = Path(__file__).parents[2] / "core/docs"
SCHEMES = {claim.scheme for claim in discovery.claims()}
_URL = re.compile(r"\b(([a-z]+)(?:\+[a-z]+)*://[^\s\"'`|)<>]+\?[^\s\"'`|)<>]+)")
SHOWN = sorted(
    {
        (path.relative_to(DOCS).as_posix(), found[0].rstrip(".,;"))
        for path in DOCS.rglob("*.md")
        for found in _URL.findall(path.read_text(encoding="utf-8"))
        if found[1] in SCHEMES and "..." not in found[0] and not re.search(r"NAME|[\[{]", found[0])
    }
)


@pytest.mark.parametrize(("page", "shown"), SHOWN, ids=[f"{page}: {shown}" for page, shown in SHOWN])
def test_the_url_is_valid(page: str, shown: str) -> None:
    # systemd puts the folder of credentials in the place of %d.
    text = shown.replace("%d/", "/run/credentials/web/")
    plugin = discovery.find(url.split(text).scheme)
    assert url.parse(text, plugin, timeout=5.0, clock=SystemClock()) is not None


def test_there_are_urls_with_tls() -> None:
    assert {shown.partition("+")[0] for _, shown in SHOWN if "+tls://" in shown} >= {"etcd", "redis", "consul"}
