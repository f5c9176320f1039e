"""Makes the pictures of the documentation: python contrib/tenure-console/tests/make_screenshots.py [FOLDER]

Needs Pillow, and Chromium with its driver (docker/browser). The pictures look as intended with the fonts Inter and
JetBrains Mono, Debian's fonts-inter and fonts-jetbrains-mono.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "support"), str(HERE.parents[2] / "tests" / "support")]

import scene  # noqa: E402 - needs the path
from browser import Browser  # noqa: E402 - needs the path
from PIL import Image  # noqa: E402 - needs the path
from served import Served  # noqa: E402 - needs the path
from tenure_console.terminal.app import Top  # noqa: E402 - needs the path

import tenure  # noqa: E402 - needs the path

DOCS = HERE.parent / "docs"


def main(folder: Path) -> None:
    """Write one PNG for each page that the documentation shows."""
    folder.mkdir(exist_ok=True)
    with tenure.connect("memory://prod") as store, tempfile.TemporaryDirectory() as profile:
        scene.before(store)
        with (
            Served(store, allow_writes=True) as served,
            scene.happening(store, store.url) as seen,
            Browser(Path(profile), width=1280, height=800) as browser,
        ):
            browser.open(served.link)
            for name, theme, values, address in (
                ("services", "light", "hide", "/"),
                ("services-dark", "dark", "hide", "/"),
                ("instance", "light", "show", f"/instance?key={seen.instance}"),
                ("key", "light", "show", f"/key?key={seen.setting}"),
                ("timeline", "light", "show", "/timeline"),
                ("leases", "light", "hide", "/leases"),
                ("locks-dark", "dark", "hide", "/locks"),
                ("store", "light", "hide", "/store"),
                ("conflict", "light", "show", ""),
            ):
                set_up(browser, theme, values)
                if address:
                    browser.open(served.base + address)
                else:
                    make_conflict(browser, served, store)
                browser.until(lambda: browser.text("#link-text") == "Live", what="the page is live")
                browser.run("return document.fonts.ready.then(() => document.activeElement.blur())")
                browser.save(folder / f"{name}.png")
                make_small(folder / f"{name}.png")
                print(folder / f"{name}.png")
            make_top(browser, folder, store)


async def top_svg(store: tenure.Store, *keys: str) -> str:
    """Return what the terminal shows after some keys, as SVG in a font of this machine."""
    app = Top(store)
    async with app.run_test(size=(132, 22)) as pilot:
        while app.follower.link.state != "live":
            await pilot.pause(0.05)
        await pilot.press(*keys)
        await pilot.pause(0.5)
        drawn = app.export_screenshot(title="tenure top")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL).replace("Fira Code", "JetBrains Mono")


def make_top(browser: Browser, folder: Path, store: tenure.Store) -> None:
    """Write the picture of the terminal."""
    with tempfile.TemporaryDirectory() as place:
        drawing = Path(place, "top.svg")
        drawing.write_text(asyncio.run(top_svg(store, "2")))
        browser.open(drawing.as_uri())
        size = browser.run("const box = document.documentElement.viewBox.baseVal; return [box.width, box.height]")
        browser.resize(*(round(side) for side in size))
        browser.save(folder / "top.png")
    make_small(folder / "top.png")
    print(folder / "top.png")


def make_small(picture: Path) -> None:
    """Reduce the colors to 256, which a third of the bytes is enough for. Grounds and other areas keep theirs."""
    with Image.open(picture) as opened:
        exact = opened.convert("RGB")
    reduced = exact.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    # Of the colors that were made one, the mean is taken: a gray ground would get the hue of the letters on it.
    numbers = Image.frombytes("L", reduced.size, reduced.tobytes())
    found = Image.merge("RGBA", (*exact.split(), numbers)).getcolors(exact.width * exact.height) or []
    most = {number: color for _, (*color, number) in sorted(found)}
    reduced.putpalette([part for number in range(max(most) + 1) for part in most.get(number, (0, 0, 0))])
    reduced.save(picture, optimize=True)


def set_up(browser: Browser, theme: str, values: str) -> None:
    """Choose theme and values, as a person does."""
    if browser.run("return document.documentElement.dataset.theme") != theme:
        browser.click(f'.prefs [value="{theme}"]')
        browser.until(lambda: browser.run("return document.documentElement.dataset.theme") == theme, what="the theme")
    if browser.run(f"return document.querySelector('.reveal [value={values}]') !== null"):
        browser.click(".reveal button")
        browser.until(
            lambda: browser.run(f"return document.querySelector('.reveal [value={values}]') === null"), what="values"
        )


def make_conflict(browser: Browser, served: Served, store: tenure.Store) -> None:
    """Edit a setting that somebody else edits meanwhile."""
    browser.open(served.base + "/edit?key=settings/features/new-checkout")
    browser.type("#content", '{"enabled": true, "share": 0.4, "note": "halfway"}')
    store.put("settings/features/new-checkout", b'{"enabled": true, "share": 0.75}')
    browser.click(".edit .primary")
    browser.until(lambda: "meanwhile" in browser.text(), what="the conflict")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
