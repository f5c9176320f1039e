"""A bar on a terminal for work that goes through keys."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from tenure.cli.ui.output import Output


@contextlib.contextmanager
def progress(out: Output, what: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """Yields a function that takes the number of keys gone through; on a terminal it moves a bar.

    The bar goes to stderr if stdout is no terminal: the result may be on its way into a file.
    """
    console = out.remarks_console
    if console is None:
        yield lambda _done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
