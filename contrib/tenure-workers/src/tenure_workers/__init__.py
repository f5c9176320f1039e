"""Tenure for worker processes: a store and a registration in each, and a stop that ends in time.

``tenure_workers.gunicorn`` has gunicorn's hooks, ``tenure_workers.celery`` connects Celery's signals, and
``tenure_workers.django`` is an application for ``INSTALLED_APPS``.
"""

from tenure_workers.lifespan import Lifespan
from tenure_workers.middleware import TenureMiddleware

__all__ = ["Lifespan", "TenureMiddleware"]
