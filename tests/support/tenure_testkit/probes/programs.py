"""Programs of their own process, one for each thing that happens to a process: interrupts, forks, its end.

Each takes a store's URL and prints what it saw as its last line. One that hangs shows where all its threads are.
"""

from __future__ import annotations

import subprocess
import sys

LIMIT = 60
"""Seconds after which a program counts as hanging: far more than any takes on a busy machine."""

_HEAD = f"""
import faulthandler, gc, os, random, signal, sys, threading, time
faulthandler.dump_traceback_later({LIMIT}, exit=True)
import tenure
from tenure import TenureError
url = sys.argv[1]
"""

_ELSEWHERE = """
def elsewhere(function):
    # In another thread: a lock that was left held is reentrant for this one.
    seen = []
    def run():
        try: seen.append((True, function()))
        except BaseException as exc: seen.append((False, exc))
    thread = threading.Thread(target=run)
    thread.start(); thread.join()
    good, found = seen[0]
    if not good: raise found
    return found
"""

EVERY_LINE = (
    _HEAD
    + _ELSEWHERE
    + """
import linecache
class Interrupted(Exception): pass
store = tenure.connect(url, timeout=20)
store.put("a", b"0"); store.get("a")
inside = os.sep + "tenure"
value = 0

def interrupt_at_another_line(call, seen):
    # Each line that wasn't seen is tried by chance, one of so many. Returns whether there was one.
    done = False
    def trace(frame, event, argument):
        nonlocal done
        if inside not in frame.f_code.co_filename or "threading" in frame.f_code.co_filename: return None
        if frame.f_code.co_name == "__del__": return None  # there Python swallows what is raised
        # No signal is looked for at the end of a lock's block, whose first line is traced again, nor in a bare "try:",
        # nor after a "del".
        line = frame.f_code.co_filename, frame.f_lineno
        before, source = (linecache.getline(line[0], line[1] + i).strip() for i in (-1, 0))
        if event == "line" and not source.startswith("with ") and source != "try:" and not before.startswith("del "):
            if not done and line not in seen:
                seen.add(line)
                if random.randrange(int(sys.argv[2])) == 0:
                    done = True
                    raise Interrupted
        return trace
    sys.settrace(trace)
    try: call()
    except Interrupted: pass
    finally: sys.settrace(None)
    return done  # also where it was swallowed

def put():
    store.put("a", str(value).encode())
def get():
    store.get("a")
def lease():
    store.lease(60, keep_alive=False).revoke()  # left by an interrupt, it is lost after the end
def watch():
    with store.watch("a") as w: w.next(0.0)

lines = {}
for call in (put, get, lease, watch):
    seen = set()
    while True:
        before, value = store.get("a").value, value + 1
        if not interrupt_at_another_line(call, seen): break
        gc.collect()
        found = elsewhere(lambda: store.get("a")).value
        assert found in (before, str(value).encode()), (found, before, value)
        elsewhere(lambda: store.put("b", str(value).encode()))
        assert store.get("b").value == str(value).encode()
    lines[call.__name__] = len(seen)
with store.watch("c") as w:
    elsewhere(lambda: store.put("c", b""))
    kinds = [w.next(20).type.value for _ in range(2)]
lease = elsewhere(lambda: store.lease(30))
started = time.monotonic(); store.close(); assert time.monotonic() - started < 15
print("done", lines)
"""
)

AT_RANDOM = (
    _HEAD
    + _ELSEWHERE
    + """
class SoftLimit(Exception): pass
armed = False
def handler(*_):
    if armed: raise SoftLimit
signal.signal(signal.SIGALRM, handler)
store = tenure.connect(url, timeout=20)
for _ in range(5): store.put("a", b"0")
began = time.monotonic()
for _ in range(20): store.put("a", b"0"); store.get("a")
each = (time.monotonic() - began) / 20
raised = others = number = 0
while raised < int(sys.argv[2]):
    number += 1
    try:
        armed = True; signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, each))
        store.put("a", str(number).encode()); store.get("a")
        armed = False
    except SoftLimit: armed = False; raised += 1
    except TenureError as exc: armed = False; raise AssertionError(f"told as {exc!r}") from exc
    finally: armed = False; signal.setitimer(signal.ITIMER_REAL, 0)
    elsewhere(lambda: store.put("b", str(number).encode()))
    assert store.get("b").value == str(number).encode()
print("done", raised, "open files", len(os.listdir("/proc/self/fd")))
"""
)

HANDLER_CALLS = (
    _HEAD
    + _ELSEWHERE
    + """
store = tenure.connect(url, timeout=5)
store.put("a", b"0")
calls, slowest = 0, 0.0
def handler(*_):
    global calls, slowest
    calls += 1
    began = time.monotonic()
    try: store.put("h", b"x") if calls % 2 else store.get("a")
    except tenure.CallInterrupted: pass
    slowest = max(slowest, time.monotonic() - began)
    if calls < int(sys.argv[2]): signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001)
while calls < int(sys.argv[2]):
    store.put("b", b"1"); store.get("b")
elsewhere(lambda: store.put("c", b"1"))
store.close()
print("done", calls, "slowest", round(slowest, 3))
"""
)

HANDLER_CLOSES = (
    _HEAD
    + """
store = tenure.connect(url, timeout=5)
lease = store.lease(30)
store.put("held", b"1", lease=lease)
def handler(*_):
    lease.revoke(); store.close(); print("done", flush=True); sys.exit(0)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.05))
while True:
    store.put("b", b"1"); store.get("b")
"""
)

FINALIZERS = (
    _HEAD
    + _ELSEWHERE
    + """
store = tenure.connect(url, timeout=5)
class Member:
    def __init__(self):
        self.me = self
        self.lease, self.watch = store.lease(60), store.watch("m")
    def __del__(self):
        self.lease.revoke(); self.watch.close()
gc.set_threshold(10, 1, 1)
for number in range(int(sys.argv[2])):
    Member()
    for i in range(5): store.put(f"k{i}", b"x"); [[] for _ in range(100)]
gc.set_threshold(700, 10, 10); gc.collect()
elsewhere(lambda: store.put("c", b"1"))
store.close()
print("done")
"""
)

FORKS = (
    _HEAD
    + """
import traceback, warnings
from tenure.registry import Instance, Registry
warnings.simplefilter("ignore")
def child_puts():
    with tenure.connect(url, timeout=20) as own: own.put("x", b"")
def child_leases():
    with tenure.connect(url, timeout=20) as own: own.lease(30)
def child_watches():
    with tenure.connect(url, timeout=20) as own, own.watch("x") as w: assert w.next(20) is not None
def child_registers():
    with tenure.connect(url, timeout=20) as own, Registry(own, None, Instance("child")) as registry:
        registry.wait_for("child", timeout=20)
def forked(work):
    pid = os.fork()
    if pid == 0:
        code = 1
        try: work(); code = 0
        except BaseException: traceback.print_exc()
        finally: os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
with tenure.connect(url, timeout=20) as store, Registry(store, None, Instance("web", port=1)) as registry:
    watch, lease = store.watch("q"), store.lease(30)
    while watch.next(0.0): pass
    def child_reads():
        ages = registry.staleness, watch.staleness
        time.sleep(0.05)
        assert registry.staleness > ages[0] and watch.staleness > ages[1], "an inherited cache doesn't age"
        assert registry.status.value == "idle" and registry.closed and registry.get_service("web").instances
        assert not lease.alive
        acts = (lambda: store.get("a"), lambda: store.put("a", b""), lambda: watch.next(0), lease.refresh,
                registry.deregister, lambda: registry.wait_for("web", timeout=1))
        for act in acts:
            try: act()
            except tenure.UsedAfterFork: continue
            raise AssertionError(act)
        registry.close(); watch.close(); lease.revoke(); store.close()
    outcomes = {work.__name__: [forked(work) for _ in range(int(sys.argv[2]))]
                for work in (child_reads, child_puts, child_leases, child_watches, child_registers)}
    assert not any(code for codes in outcomes.values() for code in codes), outcomes
    store.put("q", b"")
    assert watch.next(20).revision and lease.alive and registry.status.value == "registered"
print("done")
"""
)

FIRST_AT_THE_END = (
    _HEAD
    + """
import atexit
def end():
    with tenure.connect(url, timeout=20) as store:
        store.put("bye", b"1")
        assert store.get("bye").value == b"1"
    print("done")
atexit.register(end)
"""
)

_END_HEAD = (
    _HEAD
    + """
import atexit
from tenure.registry import Instance, Registry
store = tenure.connect(url, timeout=20)
"""
)

ENDS = {
    "closed in atexit": """
atexit.register(store.close)
store.put("a", b"1", lease=store.lease(30)); watch = store.watch("", callback=lambda batch: None)
""",
    "never closed": """
store.put("a", b"1", lease=store.lease(30, on_lost=print)); first = store.watch("", callback=lambda batch: None)
second = store.watch(""); second.next(20)
""",
    "lease taken and used in atexit": """
def end():
    store.put("bye", b"1", lease=store.lease(30)); store.get("bye"); store.close()
atexit.register(end)
""",
    "watched in atexit": """
def end():
    try:
        with store.watch("") as watch: watch.next(20)
    except tenure.Unsupported as exc: assert "interpreter is ending" in str(exc)
    store.close()
atexit.register(end)
""",
    "opened in atexit": """
store.close()
def end():
    with tenure.connect(url, timeout=20) as late: late.put("bye", b"1")
atexit.register(end)
""",
    "registry closed in atexit": """
registry = Registry(store, instance=Instance("web", port=1)).start()
registry.add_handler(lambda event: None)
def end(): registry.close(); store.close()
atexit.register(end)
""",
    "registry never closed": """
registry = Registry(store, instance=Instance("web", port=1)).start(); registry.add_handler(lambda event: None)
""",
    "closed by the handler of SIGTERM": """
registry = Registry(store, instance=Instance("web", port=1)).start()
def end(*arguments): registry.close(); store.close(); sys.exit()
signal.signal(signal.SIGTERM, end)
threading.Timer(random.uniform(0.1, 0.5), os.kill, (os.getpid(), signal.SIGTERM)).start()
while True: store.put("a", b"1"); registry.drain(); store.get("a"); registry.undrain()
""",
    "a thread outlives main": """
def late():
    threading.main_thread().join(); store.put("late", b"1", lease=store.lease(30)); store.close()
threading.Thread(target=late).start()
""",
}
"""What a program does at its end, by name. Each has an open ``store``."""


def run(program: str, url: str, *arguments: object) -> str:
    """Run a program, and return its last line. It must end in good order and say nothing on its standard error."""
    done = subprocess.run(
        [sys.executable, "-c", program, url, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT + 30,
        check=False,
    )
    if done.returncode or done.stderr:
        raise AssertionError(f"it ended with {done.returncode}:\n{done.stdout[-500:]}\n{done.stderr[-4000:]}")
    return done.stdout.strip().rpartition("\n")[2]


def end(what: str, url: str) -> None:
    """Run a program that ends as ``what`` of :data:`ENDS` says. A hang or a traceback fails."""
    run(_END_HEAD + ENDS[what], url)
