"""A few things that only a real browser shows: live pages, its policy, the keyboard, forms, contrast."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import pytest
import scene
from browser import Browser
from console_testkit import register
from hostile import ATTRIBUTE, BIDI, KEY, SCRIPT, hostile_instance
from served import Served

import tenure

pytestmark = pytest.mark.browser

CHECKS = Path(__file__).parent / "support"
CONTRAST = (CHECKS / "contrast.js").read_text()
UNNAMED = (CHECKS / "unnamed.js").read_text()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browsers.require()
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def store() -> Iterator[tenure.Store]:
    with tenure.connect(f"memory://{uuid.uuid4().hex}") as opened:
        yield opened


@pytest.fixture
def served(store: tenure.Store, chromium: Browser) -> Iterator[Served]:
    """A console that may write, and the browser let in, on the page of services."""
    with Served(store, allow_writes=True) as up:
        chromium.open(up.link)
        chromium.until(lambda: chromium.text("#link-text") == "Live", what="the page is live")
        chromium.complaints()
        chromium.hosts()
        yield up
        chromium.open("about:blank")


def test_changes_appear_by_themselves_and_nobody_else_is_asked(
    store: tenure.Store, chromium: Browser, served: Served
) -> None:
    assert "enter" not in chromium.run("return location.href")  # the token is out of the address
    chromium.run("window.same = 'page'")
    assert "Nothing is registered" in chromium.text("main")
    key = register(store, "checkout")
    chromium.until(lambda: "checkout" in chromium.text("main"), what="the service appears")
    chromium.until(lambda: chromium.text("#nav li:nth-child(1) .count") == "1", what="the number on the left follows")
    store.delete(key)
    chromium.until(lambda: "Nothing is registered" in chromium.text("main"), what="the service is gone")
    assert chromium.run("return window.same") == "page"
    assert chromium.hosts() == {served.base.removeprefix("http://")}
    assert chromium.complaints() == []


def test_a_hostile_instance_runs_nothing(store: tenure.Store, chromium: Browser, served: Served) -> None:
    """On no page, with values shown, also when a page loads a part of itself again."""
    store.put(KEY, hostile_instance(), lease=store.lease(60))
    store.put("k" + ATTRIBUTE + SCRIPT, (SCRIPT + ATTRIBUTE + BIDI).encode())
    held = tenure.Lock(store, SCRIPT + "x", owner=ATTRIBUTE + BIDI.replace("\x00", "")).acquire()
    chromium.click('.reveal [value="show"]')
    chromium.until(lambda: "Hide values" in chromium.text(".reveal"), what="values are shown")
    visited = set()
    pages = ["/", "/keys", "/timeline", "/leases", "/locks", "/search?q=script", "/store"]
    while pages:
        address = pages.pop(0)
        chromium.open(served.base + address)
        chromium.until(lambda: chromium.text("#link-text") == "Live", what="the page is live")
        store.put("k" + ATTRIBUTE + SCRIPT, (SCRIPT + str(len(visited))).encode())
        assert chromium.run("return window.harmed ?? null") is None, address
        assert chromium.run("return document.querySelectorAll('img, iframe, main script').length") == 0
        assert chromium.run("return document.documentElement.scrollWidth <= innerWidth"), f"{address} is too wide"
        visited.add(address)
        if len(visited) == 7:  # what the first pages lead to: a service, an instance, a key, a lease
            for page in ("/", "/keys?prefix=k", "/search?q=id@", "/leases"):
                chromium.open(served.base + page)
                links = chromium.run(
                    "return [...document.querySelectorAll('main a[href]')].map((a) => a.getAttribute('href'))"
                )
                pages += [link for link in links if link.split("?")[0] in ("/service", "/instance", "/key", "/lease")][
                    :3
                ]
    assert len(visited) >= 10
    assert [said for said in chromium.complaints() if "404" not in said] == []
    assert chromium.hosts() <= {served.base.removeprefix("http://")}
    held.release()


def test_everything_by_the_keyboard(store: tenure.Store, chromium: Browser, served: Served) -> None:
    from selenium.webdriver.common.keys import Keys

    key = register(store, "checkout")
    register(store, "mailer")
    chromium.open(served.base + "/")
    chromium.until(lambda: "mailer" in chromium.text("main"), what="services are there")
    chromium.keys(Keys.TAB)
    assert chromium.run("return document.activeElement.className") == "skip"
    chromium.keys(Keys.ENTER)
    assert chromium.run("return document.activeElement.id") == "main"
    # A filter narrows the list without a new page, and keeps the focus while the page changes.
    chromium.run("window.same = 'page'; document.querySelector('.filter [type=search]').focus()")
    chromium.keys("mail")
    chromium.until(lambda: "checkout" not in chromium.text("main"), what="the list is filtered")
    assert "q=mail" in chromium.run("return location.search")
    register(store, "mailing-list")
    chromium.until(lambda: "mailing-list" in chromium.text("main"), what="the filtered list is live")
    assert "checkout" not in chromium.text("main")
    chromium.keys("er")
    chromium.until(lambda: "mailing-list" not in chromium.text("main"), what="typing goes on where it was")
    assert chromium.run("return window.same") == "page"
    chromium.chord(Keys.CONTROL, "k")
    chromium.keys("checkout", Keys.ENTER)
    chromium.until(lambda: "checkout-1" in chromium.text("main"), what="the search finds the instance")
    chromium.run("[...document.querySelectorAll('main a')].find((a) => a.href.includes('/instance')).focus()")
    chromium.keys(Keys.ENTER)
    chromium.until(lambda: "Drain" in chromium.text("main"), what="the instance's page")
    chromium.run("[...document.querySelectorAll('main a')].find((a) => a.innerText === 'Drain').focus()")
    chromium.keys(Keys.ENTER)
    chromium.until(lambda: "Drain default/checkout" in chromium.text("main"), what="the question")
    chromium.run("document.querySelector('.confirm button').focus()")
    chromium.keys(Keys.ENTER)
    chromium.until(lambda: "draining" in chromium.text("main"), what="the instance drains")
    item = store.get(key)
    assert item is not None
    assert b'"status":"draining"' in item.value


def test_a_refused_edit_shows_the_difference_and_loses_nothing(
    store: tenure.Store, chromium: Browser, served: Served
) -> None:
    store.put("motd", b"first\nsecond\n")
    chromium.open(served.base + "/edit?key=motd")
    chromium.type("#content", "first\nmine\n")
    store.put("motd", b"first\ntheirs\n")
    chromium.click(".edit .primary")
    chromium.until(lambda: "Another client changed it meanwhile" in chromium.text("main"), what="the conflict")
    assert [" ".join(line.split()) for line in chromium.text(".diff").splitlines() if line.strip()] != []
    assert "theirs" in chromium.text(".diff .minus")
    assert "mine" in chromium.text(".diff .plus")
    assert store.get("motd").value == b"first\ntheirs\n"
    chromium.click(".edit .primary")
    chromium.until(lambda: "Saved motd" in chromium.text("main"), what="saved over what was shown")
    assert store.get("motd").value == b"first\nmine\n"


def test_everything_has_a_name_and_enough_contrast(store: tenure.Store, chromium: Browser, served: Served) -> None:
    """In the light and in the dark, for people who see little, and for screen readers."""
    scene.before(store)
    with scene.happening(store, store.url) as seen:
        for theme in ("light", "dark"):
            chromium.open(served.base + "/")
            chromium.click(f'.prefs [value="{theme}"]')
            chromium.until(
                lambda theme=theme: chromium.run("return document.documentElement.dataset.theme") == theme,
                what="the theme is chosen",
            )
            if theme == "light":
                chromium.click('.reveal [value="show"]')
                chromium.until(lambda: "Hide values" in chromium.text(".reveal"), what="values are shown")
            for address in (
                "/",
                "/service?registry=prod&name=web",
                f"/instance?key={seen.instance}",
                "/keys?prefix=settings/",
                f"/key?key={seen.setting}",
                "/timeline",
                "/leases",
                "/locks",
                "/store",
                f"/edit?key={seen.setting}",
                f"/confirm?do=deregister&key={seen.instance}",
                "/search?q=web",
                "/search?q=nothing-at-all",
                "/no-such-page",
            ):
                chromium.open(served.base + address)
                assert chromium.run(CONTRAST) == [], (theme, address)
                assert chromium.run(UNNAMED) == [], (theme, address)


def test_a_page_that_is_not_seen_takes_no_stream_and_catches_up(
    store: tenure.Store, chromium: Browser, served: Served
) -> None:
    """A browser has six connections to a server: with a stream for each tab, the seventh would show nothing."""
    listeners = served.console._follower._listeners
    first = chromium.driver.current_window_handle
    for _ in range(8):
        chromium.driver.switch_to.new_window("tab")
        chromium.open(served.base + "/keys")
        chromium.until(lambda: chromium.text("#link-text") == "Live", what="the tab is live")
    chromium.until(lambda: len(listeners) == 1, what="the tabs behind have closed their streams")
    register(store, "checkout")
    chromium.until(lambda: "registry" in chromium.text("main"), what="the tab in front follows")
    for tab in chromium.driver.window_handles:
        if tab != first:
            chromium.driver.switch_to.window(tab)
            chromium.driver.close()
    chromium.driver.switch_to.window(first)
    chromium.until(lambda: "checkout" in chromium.text("main"), what="the first tab has caught up")


def test_a_page_says_that_the_console_is_gone(store: tenure.Store, chromium: Browser, served: Served) -> None:
    served.console.close()
    chromium.until(lambda: chromium.text("#link-text") == "Console not reached", what="the page says so")
    assert chromium.text("#said") == "Console not reached"
