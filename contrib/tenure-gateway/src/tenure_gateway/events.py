"""What the commands tell: lines for people, or one JSON object per event."""

from __future__ import annotations

from typing import Any

from tenure._text import clock_time, iso_time
from tenure.cli.ui.output import Output

_STYLES = {"failed": "red", "refused": "red", "kept": "yellow", "left-out": "yellow", "waiting": "yellow"}


class Teller:
    """Writes events to stdout.

    Args:
        output: the command's output.
    """

    def __init__(self, output: Output) -> None:
        self.output = output

    def tell(self, kind: str, message: str, **more: Any) -> None:
        """Write one event.

        Args:
            kind: identifies it for programs.
            message: what happened, for people.
            more: what programs may want to know besides.
        """
        self.output.event(
            {"time": iso_time(), "type": kind, "message": message, **more},
            (clock_time() + "  ", "dim"),
            (message, _STYLES.get(kind, "")),
        )
