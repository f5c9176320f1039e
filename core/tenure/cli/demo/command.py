"""``tenure demo``: three real processes register, change, stop and die; it shows the events as they come."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

import click

from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Output
from tenure.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 100


@click.command(short_help="See it work: processes register, change, stop and die.")
@click.option(
    "--svg",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a picture of the run (in a pipe: instead of text).",
)
@common()
@settings
def demo(options: Settings, *, svg: Path | None) -> None:
    """See a registry at work: three processes register, one updates, one stops, one is killed.

    It takes some seconds. Without --url (or TENURE_URL) it uses an embedded store in a temporary file. On another
    store it uses a registry of its own, "demo-" and a random name, and empties it at the end. Exit code 1 if an
    expected event doesn't come.
    """
    from tenure.cli.demo.scenario import Scenes
    from tenure.registry import Registry, RegistryConfig

    signal.signal(signal.SIGTERM, _stop)
    console = _recorder() if svg is not None else None
    out = Output(json=options.json, console=console)
    with contextlib.ExitStack() as stack:
        url = options.url if options.url is not None else stack.enter_context(_temporary_store())
        store = stack.enter_context(options.connect(url, require=["multi_process"]))
        if not out.json:
            place = "a temporary embedded store" if options.url is None else "the store"
            out.line(("tenure demo", "bold"), (f" on {place}, {store.url}", "dim"))
        config = RegistryConfig(f"demo-{uuid.uuid4().hex[:8]}")
        registry = stack.enter_context(Registry(store, config))
        scenes = Scenes(out, registry, url)
        stack.callback(scenes.end)
        scenes.play()
    if svg is not None and console is not None:
        _export(console, svg)
        out.note(f"the picture is in {svg}")


def _stop(number: int, _frame: object) -> NoReturn:
    """SIGTERM winds the demo up like Ctrl-C does."""
    sys.exit(128 + number)


@contextlib.contextmanager
def _temporary_store() -> Iterator[str]:
    """The URL of an embedded store of the kind that is the default here, in a file that goes away."""
    from tenure._plugins import discovery
    from tenure._plugins.url import split
    from tenure.spi.plugin import UrlForm

    scheme = split(discovery.default_url()).scheme
    if discovery.find(scheme).url_form is not UrlForm.FILE:
        raise ConfigError(
            f"running the demo: the default store ({scheme}://) isn't a file, so the demo can't make one; give --url"
        )
    with tempfile.TemporaryDirectory(prefix="tenure-demo-") as folder:
        yield f"{scheme}://{quote(os.path.join(folder, 'demo.db'))}"


def _recorder() -> Console:
    """Return a console that records its output, always with colours."""
    from rich.console import Console

    shown = sys.stdout if sys.stdout.isatty() else io.StringIO()
    return Console(
        file=shown, record=True, width=_WIDTH, force_terminal=True, highlight=False, color_system="truecolor"
    )


def _export(console: Console, path: Path) -> None:
    picture = console.export_svg(title="tenure demo", unique_id="tenure")
    # A picture that fetches a font from somewhere isn't shown everywhere: any monospaced font will do.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), "utf-8")
