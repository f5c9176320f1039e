"""Keep files up to date from the registry and from keys, until a signal ends it.

The loop takes wishes from one queue: a change, a signal. Signal handlers only put into it, which is safe at any line.
"""

from __future__ import annotations

import contextlib
import queue
import signal

from tenure._outages import OutageTracker
from tenure.cli.options import Settings
from tenure.cli.ui.outages import show_outage
from tenure.errors import ConfigError
from tenure.plugin_kit import monotonic
from tenure.registry import RegistryConfig
from tenure_gateway.directory import Directory
from tenure_gateway.events import Teller
from tenure_gateway.opening import Remarks, followed
from tenure_gateway.render.keys import FollowedKeys
from tenure_gateway.render.plan import Plan
from tenure_gateway.render.renderer import Renderer
from tenure_gateway.render.templates import RenderError

_LOOK = 0.5
_ENDING = (signal.SIGTERM, signal.SIGINT)


class Wishes:
    """What the loop is asked for: to look, to read the templates again, to end."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.end = False
        self.reload = False
        self.look = True

    def changed(self) -> None:
        """Ask for a look. Any thread may call it."""
        self.look = True
        self._queue.put(None)

    def signalled(self, number: int, _frame: object) -> None:
        """Take a signal."""
        if number in _ENDING:
            self.end = True
        else:
            self.reload = True
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a wish, at most this long."""
        with contextlib.suppress(queue.Empty):
            self._queue.get(timeout=max(0.0, seconds))
            while True:
                self._queue.get_nowait()

    def rest(self, seconds: float) -> None:
        """Wait this long, or for a signal: changes wait meanwhile."""
        until = monotonic() + seconds
        while not self.end and not self.reload and (left := until - monotonic()) > 0:
            self.wait(left)

    def pause(self, seconds: float) -> bool:
        """Wait this long, or for a signal that ends it. Return whether to continue."""
        until = monotonic() + seconds
        while not self.end and (left := until - monotonic()) > 0:
            self.wait(left)
        return not self.end


def run(options: Settings, plan: Plan, *, grace: float, once: bool) -> bool:
    """Render a plan, once or until a signal comes. Call it in the main thread.

    Args:
        options: the command's options.
        plan: what to render.
        grace: seconds, see :class:`Directory`.
        once: end after one rendering.

    Returns:
        Whether all files are as they should be; true if a signal has ended it.

    Raises:
        ConfigError: a template can't be read.
        TenureError: the store refuses the connection, or has ended it for good.
    """
    wishes = Wishes()
    teller = Teller(options.output)
    try:
        renderer = Renderer(plan, teller, lambda: wishes.end)
    except RenderError as exc:
        raise ConfigError(str(exc)) from exc
    before = {number: signal.signal(number, wishes.signalled) for number in (*_ENDING, signal.SIGHUP)}
    try:
        return follow(options, plan, renderer, wishes, teller, grace=grace, once=once)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    options: Settings, plan: Plan, renderer: Renderer, wishes: Wishes, teller: Teller, *, grace: float, once: bool
) -> bool:
    """Do what :func:`run` says, without the signals' handlers: the caller hands signals to ``wishes``."""
    directory = Directory(RegistryConfig(options.name).key_prefix, grace)
    with followed(options, directory, teller, changed=wishes.changed, pause=None if once else wishes.pause) as store:
        if store is None:
            return True
        keys = FollowedKeys(store, wishes.changed, directory.doubtful)
        try:
            if once:
                return renderer.render(directory.look(), keys)
            teller.tell("started", f"rendering from {store.url}; SIGHUP reads the templates again, SIGTERM ends")
            _loop(directory, renderer, keys, wishes, interval=plan.interval, teller=teller)
        finally:
            keys.close()
    teller.tell("ended", "ended; the files stay")
    return True


def _loop(
    directory: Directory, renderer: Renderer, keys: FollowedKeys, wishes: Wishes, *, interval: float, teller: Teller
) -> None:
    remarks, tracker = Remarks(teller), OutageTracker()
    serial, next_at = -1, 0.0
    while not wishes.end:
        directory.check()
        sight = directory.look()
        remarks.tell(sight)
        remarks.tell_keys(keys.kept)
        wishes.look |= keys.settled
        outage = tracker.look(sight.age, directory.error)
        if outage is not None:
            show_outage(teller.output, outage, meanwhile="the files stay as they are")
        if wishes.reload:
            wishes.reload = False
            renderer.reload()
            teller.tell("reloaded", "the templates were read again")
            wishes.look = True
        now = monotonic()
        wishes.look |= now >= renderer.next_attempt()
        if sight.age == 0 and (wishes.look or sight.serial != serial) and now >= next_at:
            wishes.look = False  # before the look that is rendered: what changes meanwhile asks for another one
            next_at = now + interval
            sight = directory.look()
            serial = sight.serial
            renderer.render(sight, keys)
        elif now >= renderer.next_attempt():
            renderer.run_due()
        now = monotonic()
        wishes.rest(min(next_at - now, _LOOK))
        if sight.age > 0:
            wishes.wait(_LOOK)
        elif not wishes.look:
            wishes.wait(min(_LOOK, renderer.next_attempt() - now))
