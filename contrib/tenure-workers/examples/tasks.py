"""A Celery application: each worker is an instance of ``resizers``, and tasks count in a store of their process.

STORE=sqlite:///tmp/shop.db BROKER=redis://127.0.0.1 celery --app tasks worker --concurrency 2
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery
from tenure_workers import Lifespan
from tenure_workers.celery import follow_celery

import tenure
from tenure.registry import Instance

lifespan = Lifespan(
    os.environ.get("STORE", "memory://"),
    lambda: Instance("resizers", meta={"queue": "images"}),
)
follow_celery(lifespan)

app = Celery("tasks", broker=os.environ.get("BROKER", "memory://"))
app.conf.update(broker_connection_retry_on_startup=True, worker_max_tasks_per_child=5)
if folder := os.environ.get("BROKER_FOLDER"):  # the broker `filesystem://`, for a trial without a server
    for part in ("in", "processed"):
        Path(folder, part).mkdir(exist_ok=True)
    app.conf.broker_transport_options = {
        "data_folder_in": f"{folder}/in",
        "data_folder_out": f"{folder}/in",
        "processed_folder": f"{folder}/processed",
    }


@app.task
def resize(name: str, seconds: float = 0.0) -> None:
    """Work for some time, under a lock on the name, and count what was done."""
    with tenure.Lock(lifespan.store, f"images/{name}").hold(timeout=30):
        time.sleep(seconds)
        tenure.Counter(lifespan.store, "resized").add()
        lifespan.store.put(f"done/{name}", str(os.getpid()).encode())
