"""Where there is no browser, tests with one are skipped loudly, and fail where everything is required."""

from __future__ import annotations

import browser
import pytest


def test_without_a_browser_a_test_is_skipped_and_fails_if_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("TENURE_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NO BROWSER: chromium, chromedriver"):
        browser.require()
    monkeypatch.setenv("TENURE_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="docker/browser"):
        browser.require()
