"""Dependencies for FastAPI: the store, the registry and the lifespan of the request's application.

For Starlette without FastAPI, call :func:`get_store` and its like with the request.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from tenure import ConfigError, aio
from tenure_asgi.lifespan import Lifespan
from tenure_asgi.middleware import STATE_KEY

__all__ = ["RegistryDependency", "StoreDependency", "get_lifespan", "get_registry", "get_store"]


async def get_lifespan(connection: HTTPConnection) -> Lifespan:
    """Return the lifespan of the application that serves a request or a websocket.

    Args:
        connection: the request or the websocket.

    Returns:
        The lifespan that the middleware was given.

    Raises:
        ConfigError: the application isn't in a ``TenureMiddleware``.
    """
    found = connection.scope.get("state", {}).get(STATE_KEY)
    if not isinstance(found, Lifespan):
        raise ConfigError(
            "looking for the lifespan of a request: the application has none; add it by "
            "app.add_middleware(TenureMiddleware, lifespan=lifespan)"
        )
    return found


async def get_store(connection: HTTPConnection) -> aio.Store:
    """Return the open store of the application that serves a request or a websocket.

    Args:
        connection: the request or the websocket.

    Returns:
        The open store, which the lifespan closes.

    Raises:
        ConfigError: the application isn't in a ``TenureMiddleware``.
        StoreClosed: the application has been shut down.
    """
    return (await get_lifespan(connection)).store


async def get_registry(connection: HTTPConnection) -> aio.Registry:
    """Return the started registry of the application that serves a request or a websocket.

    Args:
        connection: the request or the websocket.

    Returns:
        The started registry, which the lifespan closes.

    Raises:
        ConfigError: the application isn't in a ``TenureMiddleware``.
        StoreClosed: the application has been shut down.
    """
    return (await get_lifespan(connection)).registry


StoreDependency = Annotated[aio.Store, Depends(get_store)]
"""The type of a parameter that gets the store."""
RegistryDependency = Annotated[aio.Registry, Depends(get_registry)]
"""The type of a parameter that gets the registry."""
