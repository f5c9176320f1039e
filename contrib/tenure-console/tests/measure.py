"""Measures the console with a large registry in a real browser: python contrib/tenure-console/tests/measure.py --help

Prints one JSON object: how long the first pages take, how soon a change is visible, and how the memory of the process
develops under changes. It needs Chromium and its driver (docker/browser).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "support"), str(HERE.parents[2] / "tests" / "support")]

from browser import Browser  # noqa: E402 - needs the path
from served import Served  # noqa: E402 - needs the path

import tenure  # noqa: E402 - needs the path
from tenure.registry import Instance, encode, key_of  # noqa: E402 - needs the path

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


def memory() -> float:
    """Return MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="memory://measure", help="an empty store")
    parser.add_argument("--instances", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--changes", type=int, default=0, help="then so many changes, with a page open")
    parser.add_argument("--rate", type=float, default=50, help="changes a second")
    given = parser.parse_args()
    found: dict[str, object] = {"instances": given.instances}
    with tenure.connect(given.url) as store, tempfile.TemporaryDirectory() as profile:
        fill(store, given.instances, given.services)
        begun = time.perf_counter()
        with Served(store) as served, Browser(Path(profile)) as browser:
            found["console ready after, s"] = round(time.perf_counter() - begun, 2)
            found["first page, s"] = round(load_seconds(browser, served.link), 3)
            many = f"{served.base}/service?registry=prod&name=service-007"
            found["pages, s"] = {
                path: round(statistics.median(load_seconds(browser, served.base + path) for _ in range(5)), 3)
                for path in (
                    "/",
                    "/service?registry=prod&name=service-007",
                    "/keys?prefix=/registry/prod/",
                    "/leases",
                    "/timeline",
                )
            }
            found["change visible, s"] = visible_after(browser, store, many)
            found["MiB before"] = memory()
            if given.changes:
                browser.open(served.base + "/timeline")
                found["MiB meanwhile"] = churn(store, given.changes, given.rate, given.services)
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


def churn(store: tenure.Store, changes: int, rate: float, services: int) -> list[float]:
    """Make changes at a rate, and return the memory at each tenth of them."""
    found = []
    begun = time.perf_counter()
    for number in range(changes):
        key, value = entry(number % 5000, services, note=f"change {number} " + "y" * (number % 1500))
        if number % 7 == 6:
            store.delete(key)
        else:
            store.put(key, value)
        if number % max(1, changes // 10) == 0:
            found.append(memory())
        ahead = number / rate - (time.perf_counter() - begun)
        if ahead > 0:
            time.sleep(ahead)
    return found


if __name__ == "__main__":
    main()
