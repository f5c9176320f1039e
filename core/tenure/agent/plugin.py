"""The scheme of programs that use the host's agent: ``agent+unix:///path/of/socket?store=URL``.

It belongs to core, since it is no store: it leads to one.
"""

from __future__ import annotations

import pwd
from pathlib import Path

from tenure.errors import ConfigError
from tenure.hookspecs import hookimpl
from tenure.spi.backend import Backend
from tenure.spi.credentials import Secret
from tenure.spi.plugin import SPI_VERSION, BackendPlugin, OpenRequest, Option, UrlForm

SCHEME = "agent"
UNIX = "unix"
DEFAULT_SOCKET = "/run/tenure/agent.sock"


def _open(request: OpenRequest) -> Backend:
    from tenure._client.opening import prepare  # noqa: PLC0415
    from tenure.agent._backend import AgentBackend  # noqa: PLC0415
    from tenure.agent._link import Link  # noqa: PLC0415
    from tenure.agent._straight import Straight  # noqa: PLC0415

    if UNIX not in request.variants:
        raise ConfigError(
            f"connecting to {request.url}: an agent listens at a Unix socket; write {SCHEME}+{UNIX}:///path"
        )
    store: Secret | None = request.options["store"]
    straight = None
    if store is not None:
        opening = prepare(store.reveal(), timeout=request.timeout)
        if opening.plugin.scheme == SCHEME:
            raise ConfigError(f"connecting to {request.url}: the option store names an agent; give the store's URL")
        straight = Straight(opening)
    link = Link(Path(request.path or DEFAULT_SOCKET), _owner(request.options["owner"]))
    return AgentBackend(link, straight, url=request.url, timeout=request.timeout)


def _owner(name: str | None) -> int | None:
    if name is None:
        return None
    if name.isdigit():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(
            f"parsing the URL's options: owner={name!r}: there is no such user; give a user's name or number"
        ) from None


@hookimpl
def tenure_backend() -> BackendPlugin:
    """Describe the scheme."""
    return BackendPlugin(
        scheme=SCHEME,
        summary="the agent of this host, which watches a store once for all programs",
        open=_open,
        url_form=UrlForm.FILE,
        spi_version=SPI_VERSION,
        variants=frozenset({UNIX}),
        options=(
            Option(
                "store",
                str,
                None,
                "URL of the agent's store, for writes, leases and reads of one key; '&' in it is %26, '@' is %40 "
                "(default: they are refused)",
                secret=True,
            ),
            Option("owner", str, None, "user that the agent has to run as, by name or number (default: any)"),
        ),
    )
