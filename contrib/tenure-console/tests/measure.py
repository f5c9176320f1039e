"""Measures the console with a large registry in a real browser: python contrib/tenure-console/tests/measure.py --help

Prints one JSON object: how long the first pages take, how soon a change is visible, and how the memory of the
process and of the page develops under changes. It needs Chromium and its driver (docker/browser).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "support"), str(HERE.parents[2] / "tests" / "support")]

from browser import Browser  # noqa: E402 - needs the path

import tenure  # noqa: E402 - needs the path
from tenure.registry import Instance, encode, key_of  # noqa: E402 - needs the path

TENURE = str(Path(sys.executable).with_name("tenure"))
PREFIX = "/registry/prod/"
_AT_ONCE = 250
_WATCH = """
const wanted = arguments[0];
const there = () => document.querySelector("main").innerText.includes(wanted);
window.found = new Promise((done) => {
  const observer = new MutationObserver(() => {
    if (!there()) return;
    observer.disconnect();
    done(Date.now());
  });
  observer.observe(document.body, { childList: true, subtree: true, characterData: true });
});
"""


def entry(number: int, services: int, note: str = "") -> tuple[str, bytes]:
    """Return key and value of one instance."""
    instance = Instance(
        f"service-{number % services:03}",
        id=f"i-{number:05}",
        host=f"10.{number // 65536}.{number // 256 % 256}.{number % 256}",
        host_name=f"node-{number % 97}",
        port=8000,
        meta={"zone": f"z{number % 3}", "version": "1.2.3", "note": note or "x" * 100},
    )
    return key_of(PREFIX, instance), encode(instance)


def fill(store: tenure.Store, instances: int, services: int) -> None:
    """Register the instances, each under a lease that many share."""
    lease = None
    for start in range(0, instances, _AT_ONCE):
        lease = store.lease(600)
        change = store.transaction()
        for number in range(start, min(start + _AT_ONCE, instances)):
            change.put(*entry(number, services), lease=lease)
        change.commit()


def load_seconds(browser: Browser, address: str) -> float:
    """Return seconds from the request of a page to its end of loading."""
    browser.open(address)
    return float(browser.run("const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd / 1000"))


class Apart:
    """``tenure console`` as a process of its own, so that its memory is the console's alone. Use it in ``with``."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [TENURE, "--url", url, "--json", "console", "--port", "0"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.link = json.loads(self._process.stdout.readline())["url"]
        self.base = self.link.partition("/enter")[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()

    def memory(self) -> float:
        """Return MiB of the process in memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return round(pages * 4096 / 2**20, 1)


def page_memory(browser: Browser) -> dict[str, float]:
    """Return MiB of the page's objects after a garbage collection, and the number of its nodes and listeners."""
    browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    told = browser.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    metrics = {metric["name"]: metric["value"] for metric in told}
    return {
        "heap, MiB": round(metrics["JSHeapUsedSize"] / 2**20, 2),
        "nodes": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="an empty store; default: an SQLite file that is removed afterwards")
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0, help="then changes for so long, with a page open")
    parser.add_argument("--rate", type=float, default=50, help="changes a second")
    given = parser.parse_args()
    found: dict[str, object] = {"instances": given.instances}
    with tempfile.TemporaryDirectory() as folder, tenure.connect(given.url or f"sqlite://{folder}/store") as store:
        fill(store, given.instances, given.services)
        begun = time.perf_counter()
        with Apart(store.url) as console, Browser(Path(folder) / "profile") as browser:
            found["console ready after, s"] = round(time.perf_counter() - begun, 2)
            found["first page, s"] = round(load_seconds(browser, console.link), 3)
            many = f"{console.base}/service?registry=prod&name=service-007"
            found["pages, s"] = {
                path: round(statistics.median(load_seconds(browser, console.base + path) for _ in range(5)), 3)
                for path in (
                    "/",
                    "/service?registry=prod&name=service-007",
                    "/keys?prefix=/registry/prod/",
                    "/leases",
                    "/timeline",
                )
            }
            found["change visible, s"] = visible_after(browser, store, many)
            found["MiB before"] = console.memory()
            if given.minutes:
                browser.open(console.base + "/timeline")
                found["minutes"] = churn(
                    store, console, browser, minutes=given.minutes, rate=given.rate, services=given.services
                )
                found["change visible afterwards, s"] = visible_after(browser, store, many)
    print(json.dumps(found, indent=2))


def visible_after(browser: Browser, store: tenure.Store, address: str, times: int = 15) -> dict[str, float]:
    """Return how long changes of an instance take to be visible, in seconds."""
    browser.open(address)
    browser.until(lambda: browser.text("#link-text") == "Live", what="the page is live")
    taken = []
    for number in range(times):
        key, value = entry(7, 200)
        written = value.replace(b"1.2.3", f"9.{time.time_ns() % 10**6}.{number}".encode())
        version = json.loads(written)["meta"]["version"]
        browser.driver.set_script_timeout(30)
        browser.run(_WATCH, version)
        sent = time.time()
        store.put(key, written)
        seen = browser.driver.execute_async_script("const done = arguments[0]; window.found.then(done)")
        taken.append(seen / 1000 - sent)
        time.sleep(0.3)
    return {"median": round(statistics.median(taken), 3), "largest": round(max(taken), 3)}


def churn(
    store: tenure.Store, console: Apart, browser: Browser, *, minutes: float, rate: float, services: int
) -> list[dict[str, float]]:
    """Make changes at a rate, and return the memory of console and page after each minute, which it also prints."""
    found: list[dict[str, float]] = []
    browser.driver.execute_cdp_cmd("Performance.enable", {})
    begun = looked = time.perf_counter()
    number = 0
    while (now := time.perf_counter()) - begun < minutes * 60:
        key, value = entry(number % 5000, services, note=f"change {number} " + "y" * (number % 1500))
        if number % 7 == 6:
            store.delete(key)
        else:
            store.put(key, value)
        number += 1
        if now - looked >= 60:
            looked = now
            live = browser.text("#link-text") == "Live" and bool(browser.complaints() == [])
            browser.hosts()  # empties what the driver remembers
            found.append({"changes": number, "console, MiB": console.memory(), **page_memory(browser), "live": live})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        ahead = number / rate - (time.perf_counter() - begun)
        if ahead > 0:
            time.sleep(ahead)
    return found


if __name__ == "__main__":
    main()
