"""Tenure for ASGI applications: registration, a stop that loses no request, dependencies, probes.

``tenure_asgi.fastapi`` has dependencies for FastAPI, and ``tenure_asgi.httpx`` transports that call services by name.
"""

from tenure_asgi.health import HealthEndpoint
from tenure_asgi.lifespan import Lifespan
from tenure_asgi.middleware import TenureMiddleware
from tenure_asgi.settings import Setting

__all__ = ["HealthEndpoint", "Lifespan", "Setting", "TenureMiddleware"]
