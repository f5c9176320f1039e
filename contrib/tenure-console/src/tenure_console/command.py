"""``tenure console``: the page on this machine, opened by a link that lets one browser in.

This module is imported for ``tenure --help``, so what the server needs is imported when the command runs.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import click

from tenure.cli.options import Settings, common, settings

if TYPE_CHECKING:
    from tenure_console.application import Console

_PORT = 8765


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

    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
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
            _warn(host)
        tell(served.token, first=True)
        if browser:
            click.launch(f"{base}/enter?token={served.token}")
        _serve(served, listener)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as exc:
        raise click.UsageError(
            f"can't listen on {host}:{port}: {exc.strerror or exc}; choose another --port (0: any free one) or --host"
        ) from exc


def _warn(host: str) -> None:
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        click.echo(
            f"tenure: {host} can be reached from other machines, without encryption: put a proxy with TLS before it",
            err=True,
        )


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
