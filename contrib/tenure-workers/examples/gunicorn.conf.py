"""gunicorn's settings: the hooks, and more time to stop than Tenure takes."""

from tenure_workers.gunicorn import on_reload, post_worker_init, worker_exit  # noqa: F401 - gunicorn calls them

workers = 2
graceful_timeout = 30
