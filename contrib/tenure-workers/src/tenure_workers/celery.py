"""Celery's signals: a worker is an instance, and each process of its pool has a store of its own.

::

    worker_ready          the worker's main process opens the store and registers its instance
    worker_shutting_down  SIGTERM, a warm shutdown: the instance is drained while tasks end
    worker_shutdown       tasks have ended: it is deregistered, and the store is closed
    worker_process_shutdown  a process of the pool ends: its store is closed
"""

from __future__ import annotations

from typing import Any

from celery import signals

from tenure_workers.lifespan import Lifespan

__all__ = ["follow_celery"]

_followed: list[object] = []
"""Celery refers to receivers weakly."""


def follow_celery(lifespan: Lifespan) -> None:
    """Register each Celery worker that imports this module, and close what its processes have opened.

    Call it in the module of the Celery application. Tasks use ``lifespan.store``, which is opened on its first use in
    each process of the pool. A program that only sends tasks registers nothing.

    Args:
        lifespan: what each process has. Its instance is the worker, not a process of the pool.
    """

    def ready(**_: Any) -> None:
        lifespan.start(handle_sigterm=False)

    def shutting_down(**_: Any) -> None:
        lifespan.drain_soon()

    def shutdown(**_: Any) -> None:
        lifespan.close()

    for signal, receiver in (
        (signals.worker_ready, ready),
        (signals.worker_shutting_down, shutting_down),
        (signals.worker_shutdown, shutdown),
        (signals.worker_process_shutdown, shutdown),
    ):
        _followed.append(receiver)
        signal.connect(receiver)
