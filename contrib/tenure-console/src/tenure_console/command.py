"""``tenure console``: the page on this machine, opened by a link that lets one browser in.

This module is imported for ``tenure --help``, so what the server needs is imported when the command runs.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import click

from tenure import ConfigError
from tenure.cli.options import Settings, common, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tenure import Store
    from tenure_console.application import Console

_PORT = 8765
_REFUSALS = {
    errno.EADDRINUSE: "another process listens there, maybe another console; choose another --port (0: any free one)",
    errno.EACCES: "this user may not listen on that port; choose a --port above 1023 (0: any free one)",
    errno.EADDRNOTAVAIL: "this machine has no such address; name one of its own by --host, such as 127.0.0.1",
}
_NO_NAME = "this machine knows no address of that name; correct --host"


@click.command(short_help="A live web page on the store.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True, help="0: any free port.")
@click.option("--host-name", multiple=True, metavar="NAME", help="A name to answer to, as behind a proxy. Repeatable.")
@click.option("--allow-writes", is_flag=True, help="Let the page change the store. Without it the page only looks.")
@click.option("--open", "browser", is_flag=True, help="Open the link in this machine's browser.")
@common()
@settings
def console(
    options: Settings, *, host: str, port: int, host_name: tuple[str, ...], allow_writes: bool, browser: bool
) -> None:
    """Serve a web page that shows the store: services and instances, keys, changes, leases, locks, and its guarantees.

    The link that is printed lets one browser in, once; the next link is printed then. Values are hidden until a
    person asks for them. Ctrl-C ends the server, and with it all sessions.
    """
    from tenure_console.application import Console

    host = host.removeprefix("[").removesuffix("]")
    for name in host_name:
        _check_name(name)
    listener = _listen(host, port)
    shown = _bracketed(host)
    base = f"http://{shown}:{listener.getsockname()[1]}"
    with listener, options.connect() as store:

        def tell(token: str, *, first: bool = False) -> None:
            link = f"{base}/enter?token={token}"
            if options.json:
                options.output.event({"type": "link", "url": link, "store": store.url, "writes": allow_writes})
                return
            click.echo(f"Open {link}" if first else f"A browser came in by that link. For another one: {link}")

        served = Console(store, allow_writes=allow_writes, hosts=(host, *host_name), on_entry=tell)
        served.start()
        if not options.json:
            click.echo(f"The console of {store.url}{'' if allow_writes else ', read-only'}. Ctrl-C ends it.")
            for warning in _warnings(store, host, host_name):
                click.echo(f"tenure: {warning}", err=True)
        tell(served.token, first=True)
        if browser:
            click.launch(f"{base}/enter?token={served.token}")
        _serve(served, listener)


def _listen(host: str, port: int) -> socket.socket:
    what = f"listening on {_bracketed(host)}:{port}"
    if not host:  # the system would take it for all addresses of this machine
        raise ConfigError(f"{what}: --host is empty; name an address, or leave --host out for 127.0.0.1")
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except UnicodeError as exc:
        raise ConfigError(f"{what}: {_NO_NAME}") from exc
    except OSError as exc:
        by_name = exc.errno is not None and exc.errno < 0  # of the resolver
        cause = _NO_NAME if by_name else _REFUSALS.get(exc.errno or 0)
        raise ConfigError(f"{what}: {cause or f'{exc.strerror or exc}; choose another --port or --host'}") from exc


def _check_name(name: str) -> None:
    """Raise ``ConfigError`` for what no Host header has as its name: the console would answer no browser."""
    if not name or any(character in name for character in "/@ ") or (":" in name and not _is_address(name)):
        raise ConfigError(
            f"reading --host-name: {name!r} is no host name; give the name alone, such as ops.example, without scheme, "
            "port and path"
        )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _warnings(store: Store, host: str, host_name: tuple[str, ...]) -> Iterator[str]:
    if not store.capabilities.multi_process:
        yield f"no other program can use {store.url}, so the page stays empty; name another store by --url"
    if not (ipaddress.ip_address(host).is_loopback if _is_address(host) else host == "localhost"):
        yield f"{host} can be reached from other machines, without encryption: put a proxy with TLS before it"
        if not host_name and _is_address(host) and ipaddress.ip_address(host).is_unspecified:
            yield "it answers to localhost alone; name by --host-name each name or address that browsers elsewhere use"


def _serve(served: Console, listener: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            # The live streams of pages have no end of their own. A signal handler may not wait for the store.
            threading.Thread(target=served.close, name="tenure-console-end", daemon=True).start()
            super().handle_exit(sig, frame)

    Server(
        uvicorn.Config(
            served,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_graceful_shutdown=3,
            lifespan="off",
        )
    ).run(sockets=[listener])
