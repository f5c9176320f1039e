"""Settings of the example's project: what Tenure needs, and little else."""

import os

from tenure.registry import Instance

SECRET_KEY = "not one"  # noqa: S105 - an example
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
ROOT_URLCONF = "urls"
WSGI_APPLICATION = "wsgi.application"
INSTALLED_APPS = ["tenure_workers.django"]
PORT = int(os.environ.get("PORT", "8000"))
TENURE = {
    "STORE_URL": os.environ.get("STORE", "memory://"),
    "INSTANCE": lambda: Instance("shop", host="127.0.0.1", port=PORT),
    "DRAIN_WAIT": float(os.environ.get("DRAIN_WAIT", "1")),
}
