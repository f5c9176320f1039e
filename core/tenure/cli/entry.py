"""Entry point of the command ``tenure``: without click and rich it prints a clear message."""

from __future__ import annotations

import importlib.util
import sys

_NEEDED = ("click", "rich")
_USAGE = 2


def main() -> int:
    """Run the command line given in ``sys.argv``; the answer is the exit code (or ``SystemExit`` carries it)."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"tenure: the command line needs {' and '.join(missing)}, not installed in {sys.prefix}: "
            "pip install 'tenure[cli]'",
            file=sys.stderr,
        )
        return _USAGE
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets its escape, not an exception.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from tenure.cli.app import cli

    cli.main(prog_name="tenure")
    return 0
