"""What gunicorn serves: ``gunicorn --config ../gunicorn.conf.py wsgi``."""

import os

from django.core.wsgi import get_wsgi_application
from tenure_workers import TenureMiddleware
from tenure_workers.django import get_lifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
application = TenureMiddleware(get_wsgi_application(), get_lifespan())
