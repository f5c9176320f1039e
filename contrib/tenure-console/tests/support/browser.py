"""A real browser for tests: Debian's Chromium, driven by its own driver. Nothing is downloaded.

Where either is missing a test is skipped, and says so; ``TENURE_REQUIRE=all`` makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tenure_testkit.waiting import PATIENCE

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--hide-scrollbars",
)


def missing() -> str:
    """Return what a test with a browser lacks here; empty if nothing."""
    return ", ".join(
        what
        for what, names in (("chromium", ("chromium", "chromium-browser")), ("chromedriver", ("chromedriver",)))
        if _found(*names) is None
    )


def require() -> None:
    """Skip the test where there is no browser, or fail it if databases and browsers are required."""
    lacks = missing()
    if not lacks:
        return
    reason = f"NO BROWSER: {lacks} not on the PATH; docker/browser installs it on Debian"
    if os.environ.get("TENURE_REQUIRE") == "all":
        pytest.fail(reason)
    pytest.skip(reason)


def _found(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name)) is not None), None)


class Browser:
    """One browser with an empty profile. Use it in ``with``.

    Args:
        profile: an empty folder.
        width: of the window, in CSS pixels.
        height: the same.
        dark: whether the system prefers dark pages.
        scale: pixels of a screenshot for one CSS pixel.
    """

    def __init__(
        self, profile: Path, *, width: int = 1280, height: int = 860, dark: bool = False, scale: float = 1
    ) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = _found("chromium", "chromium-browser") or ""
        for flag in (
            *_FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            f"--force-device-scale-factor={scale}",
        ):
            options.add_argument(flag)
        if dark:
            options.add_argument("--blink-settings=preferredColorScheme=0")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(_found("chromedriver")))
        self.driver.set_page_load_timeout(PATIENCE)
        self._scale = scale
        self.resize(width, height)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.driver.quit()

    def resize(self, width: int, height: int) -> None:
        """Give the page another size, in CSS pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": self._scale, "mobile": False},
        )

    def open(self, address: str) -> None:
        """Load a page."""
        self.driver.get(address)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str = "body") -> str:
        """Return the text of an element; empty if there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, selector: str) -> None:
        """Click on an element, as a person does."""
        from selenium.webdriver.common.by import By

        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def type(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        from selenium.webdriver.common.by import By

        field = self.driver.find_element(By.CSS_SELECTOR, selector)
        field.clear()
        field.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, modifier: str, key: str) -> None:
        """Press a key while a modifier is held."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def until(self, probe: Callable[[], object], what: str) -> None:
        """Wait until ``probe`` returns something true, whatever the page does meanwhile."""
        from selenium.common.exceptions import WebDriverException

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if probe():
                    return
            except WebDriverException:
                pass  # the page is being replaced
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE:g} s: {what}; the page shows {self.text()[:2000]!r}")
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """Return what the browser has written to its console since the last call, such as a violated policy."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def hosts(self) -> set[str]:
        """Return the hosts and ports that pages have asked for since the last call."""
        import json
        from urllib.parse import urlsplit

        asked = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.add(urlsplit(message["params"]["request"]["url"]).netloc)
        return asked

    def save(self, path: Path) -> None:
        """Save what the window shows as a PNG."""
        path.write_bytes(self.driver.get_screenshot_as_png())
