"""gunicorn's hooks. One line in ``gunicorn.conf.py``, and an application inside of ``TenureMiddleware``::

    from tenure_workers.gunicorn import on_reload, post_worker_init, worker_exit

A worker is registered once its application is loaded. At that time the listener, which the master process opened,
takes connections already. On SIGTERM the worker is drained and deregistered while it serves, and only then does
gunicorn stop it. SIGINT and SIGQUIT, gunicorn's quick ways, deregister without draining.
"""

from __future__ import annotations

import mmap
import os
import signal
from typing import Any

from tenure import ConfigError
from tenure_workers.lifespan import Lifespan
from tenure_workers.reloads import Reloads

__all__ = ["on_reload", "post_worker_init", "worker_exit"]

_ATTRIBUTE = "tenure_lifespan"
_reloads = Reloads(mmap.mmap(-1, Reloads.SIZE))
"""Made where this module is first imported, the master process, and shared with its workers."""


def on_reload(_server: Any) -> None:
    """Remember, in the master process, that workers will be replaced: each then waits for its successor."""
    _reloads.count_one()


def post_worker_init(worker: Any) -> None:
    """Open the worker's store, register its instance, and drain it on SIGTERM before gunicorn stops the worker.

    Args:
        worker: gunicorn's worker, whose application is loaded.

    Raises:
        ConfigError: the application isn't a ``TenureMiddleware``.
        TenureError: the store can't be opened. The worker doesn't boot, and gunicorn says why.
    """
    lifespan = getattr(worker.wsgi, "lifespan", None)
    if not isinstance(lifespan, Lifespan):
        raise ConfigError(
            f"starting a worker: the application is {worker.wsgi!r:.80}, not a TenureMiddleware; let gunicorn serve "
            "TenureMiddleware(application, lifespan)"
        )
    setattr(worker, _ATTRIBUTE, lifespan)
    born = _reloads.count

    def stopping() -> None:
        # A client of a connection that is kept alive would lose a request to its end. `gthread` keeps so many. The
        # setting `keepalive` is also its patience with new connections, so that stays.
        if hasattr(worker, "max_keepalived"):
            worker.max_keepalived = 0

    lifespan.start(on_stop=stopping, is_replaced=lambda: _reloads.count != born)
    # As gunicorn has set it for its own handler: a request that is under way isn't disturbed.
    signal.siginterrupt(signal.SIGTERM, False)


def worker_exit(_server: Any, worker: Any) -> None:
    """Deregister the worker's instance if it still is registered, and close its store, before the process ends.

    If the store doesn't answer, warnings are logged. Nothing is raised.

    Args:
        worker: gunicorn's worker. In the master process, nothing is done.
    """
    lifespan = getattr(worker, _ATTRIBUTE, None)
    # gunicorn also calls this in the master process, for a worker that is gone.
    if lifespan is not None and worker.pid == os.getpid():
        lifespan.close()
