"""What plugins of stores on a network share: the parts that each of them would otherwise write again.

=========================  =====================================================================================
:class:`Deadline`          the moment by which a call has to return; every other part takes one
:class:`ProgressDeadline`  the same, moved on by each piece of an answer: for feeds over slow links
:class:`Resolver`          a host's addresses, within a deadline
:class:`TlsContext`        the TLS context of a URL; it follows certificates that are renewed
:class:`Endpoints`         several servers of one store: which is asked first, and how long each may take
:func:`dial`               a TCP or TLS connection to one host, from the parts above
:class:`ConnectionPool`    connections between calls; safe to interrupt at any line
:class:`FeedHub`           which feeds a change concerns, what each has seen, and how they end
:class:`Worker`            a supervised thread, for whatever a store does beside its calls
:class:`Monitor`           a lock and condition that no interrupt leaves held
:class:`ErrorTable`        from a server's words to an error of :mod:`tenure.errors`, with one rule for doubt
:func:`examine_hosts`      each host of the URL and its certificate by itself, for ``Backend.diagnose``
:func:`next_revision`      revisions that a restored backup never repeats
:func:`start_thread`       a start of a thread that no interrupt harms; :class:`Worker` uses it
=========================  =====================================================================================

``tenure guide write-a-backend`` has a whole example, which runs.
"""

from typing import TYPE_CHECKING

from tenure._later import imported

if TYPE_CHECKING:
    from tenure._runtime.deadline import Deadline, ProgressDeadline, RealTime, monotonic, wall_clock
    from tenure._runtime.interruption import interruption
    from tenure._runtime.monitor import Monitor
    from tenure._runtime.thread_start import start_thread
    from tenure._runtime.worker import Worker, untranslated
    from tenure.plugin_kit.connection_pool import Connection, ConnectionPool, Pooled
    from tenure.plugin_kit.endpoints import DEFINITE, Endpoints, dial
    from tenure.plugin_kit.errors import ErrorTable, Row, shorten
    from tenure.plugin_kit.feed_hub import FeedHub, HubFeed
    from tenure.plugin_kit.hosts import examine_hosts
    from tenure.plugin_kit.resolver import Address, Resolver
    from tenure.plugin_kit.revisions import next_revision
    from tenure.plugin_kit.tls import TlsContext, TlsFiles

__all__ = [
    "DEFINITE",
    "Address",
    "Connection",
    "ConnectionPool",
    "Deadline",
    "Endpoints",
    "ErrorTable",
    "FeedHub",
    "HubFeed",
    "Monitor",
    "Pooled",
    "ProgressDeadline",
    "RealTime",
    "Resolver",
    "Row",
    "TlsContext",
    "TlsFiles",
    "Worker",
    "dial",
    "examine_hosts",
    "interruption",
    "monotonic",
    "next_revision",
    "shorten",
    "start_thread",
    "untranslated",
    "wall_clock",
]

_PLACES = {
    "Address": "tenure.plugin_kit.resolver",
    "Connection": "tenure.plugin_kit.connection_pool",
    "ConnectionPool": "tenure.plugin_kit.connection_pool",
    "DEFINITE": "tenure.plugin_kit.endpoints",
    "Deadline": "tenure._runtime.deadline",
    "Endpoints": "tenure.plugin_kit.endpoints",
    "ErrorTable": "tenure.plugin_kit.errors",
    "FeedHub": "tenure.plugin_kit.feed_hub",
    "HubFeed": "tenure.plugin_kit.feed_hub",
    "Monitor": "tenure._runtime.monitor",
    "Pooled": "tenure.plugin_kit.connection_pool",
    "ProgressDeadline": "tenure._runtime.deadline",
    "RealTime": "tenure._runtime.deadline",
    "Resolver": "tenure.plugin_kit.resolver",
    "Row": "tenure.plugin_kit.errors",
    "TlsContext": "tenure.plugin_kit.tls",
    "TlsFiles": "tenure.plugin_kit.tls",
    "Worker": "tenure._runtime.worker",
    "dial": "tenure.plugin_kit.endpoints",
    "examine_hosts": "tenure.plugin_kit.hosts",
    "interruption": "tenure._runtime.interruption",
    "monotonic": "tenure._runtime.deadline",
    "next_revision": "tenure.plugin_kit.revisions",
    "shorten": "tenure.plugin_kit.errors",
    "start_thread": "tenure._runtime.thread_start",
    "untranslated": "tenure._runtime.worker",
    "wall_clock": "tenure._runtime.deadline",
}
"""Where each name is: a store in a file needs no TLS."""


def __getattr__(name: str) -> object:
    return imported(__name__, name, _PLACES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
