"""Draws the pictures of the pages from the code's own tables, as SVG for light and dark screens.

    python core/docs/make_pictures.py [--check]

With ``--check`` nothing is written, and the exit code is 1 if a picture would change.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from benchmark_pictures import growth, ratios
from drawing import Drawing

from tenure import errors
from tenure.errors import RetryAdvice
from tenure.registry import Status
from tenure.registry.lifecycle.state import TRANSITIONS
from tenure.spi import Backend
from tenure.watch.machine import TRANSITIONS as WATCH_TRANSITIONS
from tenure.watch.machine import WatchState

FOLDER = Path(__file__).with_name("images")
ROOT = Path(__file__).parents[2]


def stores() -> list[str]:
    """Return the names of the stores that have a plugin in the repository."""
    folders = [*sorted((ROOT / "backends").glob("tenure_*")), *sorted(ROOT.glob("contrib/*/src/tenure_*"))]
    return [folder.name.removeprefix("tenure_") for folder in folders if (folder / "plugin.py").exists()]


def layers() -> Drawing:
    """What lies on what, from the application to the servers."""
    methods = sorted(Backend.__abstractmethods__)
    picture = Drawing(
        860, 470, "Layers: the application, recipes and registry, Store, the plugin interface, plugins, servers"
    )
    x, w = 40, 780
    picture.box(x, 24, w, 44, "your application", "good", bold=True)
    for number, (name, what) in enumerate(
        (
            ("tenure.recipes", "locks, elections, queues ..."),
            ("tenure.registry", "instances of services"),
            ("tenure.aio", "the same for asyncio"),
            ("tenure command", "shell and operators"),
        )
    ):
        picture.box(x + number * 197, 88, 189, 56, f"{name}|{what}")
    picture.box(
        x, 164, w, 62, "Store|namespaces, deadlines, retries, transactions; leases refresh, watches resume", bold=True
    )
    picture.box(x, 246, w, 74, f"plugin interface: Backend has {len(methods)} methods|" + _in_two(methods), bold=True)
    names = stores()
    step = w / len(names)
    for number, name in enumerate(names):
        picture.box(x + number * step + 2, 340, step - 4, 40, name)
        if name in ("memory", "sqlite", "jsonfile"):
            picture.text(x + (number + 0.5) * step, 418, "no server", "soft", size=12, anchor="middle")
        else:
            picture.arrow(f"M{x + (number + 0.5) * step:g} 380 V400")
            picture.box(x + number * step + 8, 402, step - 16, 26, "server", "wait")
    picture.text(
        x,
        454,
        "A layer calls only the one below it. The conformance suite tests every plugin through the Store.",
        "soft",
    )
    return picture


def _in_two(words: list[str]) -> str:
    half = (len(words) + 1) // 2
    return f"{', '.join(words[:half])},|{', '.join(words[half:])}"


def lease() -> Drawing:
    """The timeline of one lease whose holder is cut off."""
    picture = Drawing(
        860,
        292,
        "A holder refreshes its lease every third of the TTL; cut off, it gives up at 9 s; the store ends it at 10 s",
    )
    left, second = 130, 44
    at = [left + second * number for number in range(17)]
    for number in range(17):
        picture.line(at[number], 216, at[number], 222)
        if number % 2 == 0:
            picture.text(at[number], 238, f"{number} s", "soft", size=12, anchor="middle")
    picture.line(left, 219, at[16], 219)
    for y, name in ((57, "holder"), (117, "store"), (177, "successor")):
        picture.text(115, y, name, anchor="end", size=14, bold=True)
    third = second * 10 / 3
    picture.box(left, 40, third, 26, "held", "good")
    picture.box(left + third, 40, second * 9, 26, "held: the local clock says so", "good")
    picture.box(left + third + second * 9, 40, at[16] - left - third - second * 9, 26, "lost", "bad")
    picture.box(left, 100, third + second * 10, 26, "the lease lives", "wait")
    picture.box(left + third + second * 10, 100, at[16] - left - third - second * 10, 26, "ended", "bad")
    picture.box(left, 160, third + second * 10, 26, "waits", "wait")
    picture.box(left + third + second * 10, 160, at[16] - left - third - second * 10, 26, "holds", "good")
    picture.arrow(f"M{left + third:g} 66 V98")
    picture.text(left + third + 6, 87, "the last refresh that arrives (TTL 10 s)", "soft", size=12)
    picture.line(left + 2 * third, 30, left + 2 * third, 76, "cut", dashed=True)
    picture.text(left + 2 * third + 6, 33, "cut off: this refresh and all later ones fail", "soft", size=12)
    edge = left + third + second * 9
    picture.line(edge, 30, edge, 196, "cut")
    picture.text(
        40, 266, "The holder counts from the moment at which it sent the last refresh, by its own clock alone.", "soft"
    )
    picture.text(
        40, 283, "So it gives up before the store ends the lease: after a pause too, and without a connection.", "soft"
    )
    return picture


def watch_gap() -> Drawing:
    """A watch over a break of the connection, resumed and resynchronized."""
    picture = Drawing(860, 470, "A watch delivers a snapshot, changes, and after a gap the difference")
    lanes = {"your program": 130, "watch": 430, "store": 730}
    for name, x in lanes.items():
        picture.box(x - 80, 20, 160, 34, name, bold=True)
        picture.line(x, 54, x, 440, dashed=True)
    program, watch, store = lanes.values()

    def step(y: float, begin: float, end: float, words: str) -> None:
        picture.arrow(f"M{begin:g} {y:g} H{end + (6 if end < begin else -6):g}")
        picture.text((begin + end) / 2, y - 6, words, "text", size=12, anchor="middle")

    step(86, watch, store, "open")
    step(112, store, watch, "all keys, at revision 7")
    step(112, watch, program, "SNAPSHOT, then SYNCED")
    step(150, store, watch, "revision 8: put a")
    step(150, watch, program, "CHANGES: a")
    picture.line(watch + 20, 182, store - 20, 182, "cut", dashed=True)
    picture.text((watch + store) / 2, 176, "the connection breaks", "soft", size=12, anchor="middle")
    picture.box(store - 80, 196, 160, 40, "9: put b|10: delete a", "box")
    picture.text(program, 212, "staleness grows;", "soft", size=12, anchor="middle")
    picture.text(program, 228, "the last state stays", "soft", size=12, anchor="middle")
    step(264, watch, store, "open again, after revision 8")
    picture.box(watch - 86, 282, 172, 28, "history still there?")
    picture.text(watch + 94, 300, "yes", "soft", size=12)
    step(336, store, watch, "revisions 9 and 10")
    step(336, watch, program, "CHANGES: put b, delete a")
    picture.text(watch + 12, 378, "no: compacted, restored, or your program was too slow", "soft", size=12)
    step(404, store, watch, "all keys, at revision 10")
    step(404, watch, program, "RESYNC: put b, delete a")
    picture.text(
        430,
        460,
        "Either way the program learns of every key that differs, also of those that were deleted.",
        "soft",
        anchor="middle",
    )
    return picture


def threads() -> Drawing:
    """Which thread calls which method of a plugin, and which one the plugin brings along."""
    picture = Drawing(
        860, 360, "The caller's thread calls get, list and commit; core's thread refreshes; the plugin's delivers"
    )
    picture.text(130, 34, "threads of the program", "soft", anchor="middle")
    picture.text(400, 34, "core", "soft", anchor="middle")
    picture.text(700, 34, "your plugin", "soft", anchor="middle")
    picture.line(262, 20, 262, 340, dashed=True)
    picture.line(540, 20, 540, 340, dashed=True)
    rows = (
        (50, "a caller", "Store: deadline, retries", "get, list, commit, grant, watch"),
        (126, "", "thread: keep-alive of leases", "refresh, revoke"),
    )
    for y, program, core, methods in rows:
        if program:
            picture.box(40, y, 180, 52, f"{program}|blocks until the answer")
            picture.arrow(f"M220 {y + 26} H298")
        picture.box(300, y, 200, 52, core)
        picture.arrow(f"M500 {y + 26} H578")
        picture.box(580, y, 240, 52, f"{methods}|blocking, from several threads at once")
    picture.box(40, 216, 180, 52, "a consumer|watch.next()")
    picture.box(300, 216, 200, 52, "bounded buffer|FeedBuffer, one per watch", "wait")
    picture.box(580, 216, 240, 52, "thread: your reader|sink.deliver, sink.fail", "good")
    picture.arrow("M580 242 H502")
    picture.arrow("M300 242 H222")
    picture.text(548, 210, "never blocks", "soft", size=12)
    picture.text(254, 210, "waits", "soft", size=12, anchor="end")
    picture.box(300, 292, 200, 44, "threads: callbacks")
    picture.arrow("M300 314 H222")
    picture.text(130, 310, "on_lost, on_change,", "soft", size=12, anchor="middle")
    picture.text(130, 326, "handlers of the registry", "soft", size=12, anchor="middle")
    return picture


_REFUSED: dict[RetryAdvice, tuple[type[errors.TenureError], ...]] = {
    RetryAdvice.SAFE: (errors.Unavailable, errors.DeadlineExceeded, errors.StoreFull),
    RetryAdvice.READ_FIRST: (errors.Conflict,),
    RetryAdvice.USELESS: (
        errors.InvalidArgument,
        errors.LimitExceeded,
        errors.Unsupported,
        errors.PermissionDenied,
        errors.LeaseNotFound,
        errors.StoreClosed,
    ),
}
"""Errors that a write may raise and that refuse it, by what they advise; the catalogue has all of them."""


def outcomes() -> Drawing:
    """What a program knows after a write, and what it may do."""
    for advice, names in _REFUSED.items():
        wrong = [error.__name__ for error in names if error.retry is not advice]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: retry is not {advice}")
    picture = Drawing(
        860, 500, "A write is done, refused or unknown; the type of the error says which, and what may follow"
    )
    picture.box(330, 20, 200, 40, "store.put(...)", bold=True)
    for x, words in ((130, "it returned"), (430, "it raised OutcomeUnknown"), (730, "it raised another error")):
        picture.arrow(f"M430 60 V84 H{x} V104" if x != 430 else "M430 60 V104")
        picture.text(
            x + (14 if x == 430 else 0),
            98 if x == 430 else 78,
            words,
            "soft",
            size=12,
            anchor="start" if x == 430 else "middle",
        )
    picture.box(40, 106, 180, 48, "done|applied once", "good", bold=True)
    picture.box(340, 106, 180, 48, "unknown|applied once, or never", "late", bold=True)
    picture.box(640, 106, 180, 48, "refused|nothing was changed", "bad", bold=True)
    picture.arrow("M430 154 V196")
    picture.box(310, 198, 240, 60, "read the keys|then decide; a write with if_unchanged|may simply be sent again")
    picture.text(130, 184, "use the new revision", "soft", size=12, anchor="middle")
    picture.arrow("M730 154 V176")
    picture.text(730, 192, "error.retry says", "soft", size=12, anchor="middle")
    y = 214
    for advice, what in (
        (RetryAdvice.SAFE, "make the same call again"),
        (RetryAdvice.READ_FIRST, "read the keys first"),
        (RetryAdvice.USELESS, "change something first"),
    ):
        listed = [error.__name__ for error in _REFUSED[advice]]
        rows = textwrap.wrap(", ".join(listed), 40)
        height = 30 + 16 * len(rows)
        picture.box(570, y, 275, height, f"{advice.name}: {what}|" + "|".join(rows))
        y += height + 8
    picture.text(40, 300, "Tenure never repeats a write blindly.", size=13)
    picture.text(40, 320, "A write without an answer is the program's", size=13)
    picture.text(40, 340, "decision, because only the program knows", size=13)
    picture.text(40, 360, "what the write means.", size=13)
    picture._height = int(max(y + 12, 400))
    return picture


_PLACES = {
    Status.IDLE: (40, 190),
    Status.REGISTERED: (350, 50),
    Status.RECOVERING: (660, 190),
    Status.FAILED: (350, 330),
    Status.CLOSED: (40, 420),
}
_WAYS = {
    (Status.IDLE, Status.REGISTERED): ("M100 190 V62 H348", 112, 54),
    (Status.REGISTERED, Status.IDLE): ("M350 84 H150 V188", 162, 102),
    (Status.REGISTERED, Status.RECOVERING): ("M510 62 H760 V188", 522, 54),
    (Status.RECOVERING, Status.REGISTERED): ("M710 190 V84 H512", 522, 102),
    (Status.RECOVERING, Status.IDLE): ("M660 213 H202", 226, 207),
    (Status.RECOVERING, Status.FAILED): ("M700 236 V353 H512", 522, 372),
    (Status.REGISTERED, Status.FAILED): ("M450 96 V328", 458, 258),
    (Status.FAILED, Status.REGISTERED): ("M400 330 V98", 392, 258),
    (Status.FAILED, Status.IDLE): ("M350 342 H180 V238", 190, 334),
    (Status.IDLE, Status.FAILED): ("M140 236 V366 H348", 150, 383),
    (Status.IDLE, Status.CLOSED): ("M70 236 V418", 78, 400),
    (Status.RECOVERING, Status.RECOVERING): ("M790 190 V164 H840 V213 H822", 838, 256),
}
"""Transition -> the arrow's path, and where its text begins."""


def registration() -> Drawing:
    """The states of a registry's own registration, with an arrow for each transition of the table in the code."""
    told = "; ".join(f"{source} to {', '.join(targets)}" for source, targets in TRANSITIONS.items() if targets)
    picture = Drawing(860, 484, f"States of a registration: {told}")
    styles = {Status.REGISTERED: "good", Status.RECOVERING: "late", Status.FAILED: "bad"}
    for source, targets in TRANSITIONS.items():
        for target, cause in targets.items():
            path, x, y = _WAYS[source, target]
            picture.arrow(path)
            before = source is target or (source, target) == (Status.FAILED, Status.REGISTERED)
            for number, row in enumerate(textwrap.wrap(cause, 40)):
                picture.text(x, y + number * 15, row, "soft", size=12, anchor="end" if before else "start")
    for status, (x, y) in _PLACES.items():
        picture.box(x, y, 160, 46, status.name, styles.get(status, "box"), bold=True)
    return picture


_WATCH_PLACES = {
    WatchState.OPENING: (40, 40),
    WatchState.CONNECTED: (350, 40),
    WatchState.RESUMING: (40, 250),
    WatchState.RESYNCING: (660, 250),
    WatchState.ENDED: (350, 400),
}
_WATCH_WAYS = {
    (WatchState.OPENING, WatchState.CONNECTED): ("M200 63 H348", 208, 32),
    (WatchState.OPENING, WatchState.ENDED): ("M40 63 H20 V440 H348", 44, 118),
    (WatchState.CONNECTED, WatchState.RESUMING): ("M380 86 V258 H202", 214, 222),
    (WatchState.RESUMING, WatchState.CONNECTED): ("M150 250 V160 H365 V88", 190, 152),
    (WatchState.CONNECTED, WatchState.RESYNCING): ("M510 63 H760 V248", 524, 24),
    (WatchState.RESYNCING, WatchState.CONNECTED): ("M690 250 V160 H490 V88", 524, 152),
    (WatchState.CONNECTED, WatchState.ENDED): ("M430 86 V398", 440, 348),
    (WatchState.RESUMING, WatchState.RESYNCING): ("M200 284 H658", 470, 278),
    (WatchState.RESUMING, WatchState.ENDED): ("M130 296 V412 H348", 140, 330),
    (WatchState.RESYNCING, WatchState.ENDED): ("M740 296 V423 H512", 530, 440),
}
"""Transition -> the arrow's path, and where its text begins."""


def watch() -> Drawing:
    """The states of a watch, with an arrow for each transition of the table in the code."""
    told = "; ".join(f"{source} to {', '.join(targets)}" for source, targets in WATCH_TRANSITIONS.items() if targets)
    picture = Drawing(860, 484, f"States of a watch: {told}")
    styles = {WatchState.CONNECTED: "good", WatchState.RESYNCING: "late", WatchState.ENDED: "bad"}
    for source, targets in WATCH_TRANSITIONS.items():
        for target, cause in targets.items():
            path, x, y = _WATCH_WAYS[source, target]
            picture.arrow(path)
            for number, row in enumerate(textwrap.wrap(cause, 30)):
                picture.text(x, y + number * 15, row, "soft", size=12)
    for state, (x, y) in _WATCH_PLACES.items():
        picture.box(x, y, 160, 46, state.name, styles.get(state, "box"), bold=True)
    picture.text(40, 472, "close() ends a watch in every state.", "soft", size=12)
    return picture


_LAYOUTS = (
    ("memory", "dictionary|shop/jobs/1", "number from the clock", "entry with a deadline", "log in memory"),
    ("SQLite", "row of item", "number from the clock,|in table store", "row of lease", "table log"),
    ("etcd", "key|shop/jobs/1", "etcd's revision", "etcd's lease", "etcd's watch stream"),
    (
        "Redis",
        "field of a hash|{leasehold}:data",
        "number from the|server's clock",
        "field and its end|{leasehold}:leases, :expiry",
        "stream|{leasehold}:log",
    ),
    ("ZooKeeper", "node|/shop/jobs/@1", "transaction id (zxid)", "session", "watches of nodes,|then the nodes"),
    ("Consul", "key|leasehold/kv/shop/jobs/1", "Consul's index", "session", "blocking queries|of the prefix"),
    ("PostgreSQL", "row of item", "number from the|server's clock, in store", "row of lease", "table log"),
)
"""As the table of explanation/data-layout.md says it: store, key, revision, lease, what a watch reads."""


def data_layout() -> Drawing:
    """Where each store keeps the key ``jobs/1`` of the namespace ``shop``."""
    label = "Where each store keeps a key, its revision, its lease, and what a watch reads"
    picture = Drawing(900, 56 + 58 * len(_LAYOUTS), label)
    for column, title in enumerate(("key jobs/1 of shop", "revision", "lease", "a watch reads")):
        picture.text(216 + column * 190, 26, title, "soft", anchor="middle")
    for number, (store, *places) in enumerate(_LAYOUTS):
        y = 40 + 58 * number
        picture.text(16, y + 29, store)
        for column, place in enumerate(places):
            picture.box(124 + column * 190, y, 182, 48, place, "good" if column == 0 else "box")
    return picture


def conformance_run() -> Drawing:
    """What a rule of the conformance suite does, from its clients to the report."""
    label = (
        "A conformance run: a rule's clients work through a proxy on the server, a checker judges what they recorded"
    )
    picture = Drawing(860, 330, label)
    picture.box(40, 30, 170, 56, "rule|one guarantee", bold=True)
    picture.box(40, 136, 170, 56, "clients|the plugin, through Store")
    picture.box(270, 136, 150, 56, "proxy|cuts and delays", "late")
    picture.box(480, 136, 150, 56, "server", "good")
    picture.box(480, 30, 150, 56, "controls|kill, freeze, fill", "late")
    picture.box(40, 242, 170, 56, "history|calls, results, times")
    picture.box(270, 242, 150, 56, "checker|history to problems")
    picture.box(480, 242, 150, 56, "verdict|pass or a failure", bold=True)
    picture.box(690, 242, 140, 56, "report|then a claim", bold=True)
    for path in (
        "M125 86 V136",
        "M210 164 H270",
        "M420 164 H480",
        "M125 192 V242",
        "M210 270 H270",
        "M420 270 H480",
        "M630 270 H690",
        "M555 86 V136",
    ):
        picture.arrow(path)
    picture.arrow("M210 58 H480", dashed=True)
    picture.arrow("M210 72 H345 V136", dashed=True)
    picture.text(226, 48, "injects a fault, and proves it", "soft", size=12)
    return picture


PICTURES: dict[str, Callable[[], Drawing]] = {
    "conformance-run": conformance_run,
    "data-layout": data_layout,
    "growth": growth,
    "layers": layers,
    "lease": lease,
    "outcomes": outcomes,
    "ratios": ratios,
    "registration": registration,
    "threads": threads,
    "watch": watch,
    "watch-gap": watch_gap,
}


def main(arguments: list[str]) -> int:
    stale = []
    for name, draw in PICTURES.items():
        path, text = FOLDER / f"{name}.svg", draw().svg()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(stale)}: not what the code says; run python {__file__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
