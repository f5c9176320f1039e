"""Report a failed command: one line on stderr with the advice, and a meaningful exit code."""

from __future__ import annotations

import errno
import os
import sys

import click

from tenure._failed import Failed
from tenure._text import json_text, visible
from tenure.errors import (
    AuthenticationFailed,
    ConfigError,
    ErrorOrigin,
    InvalidArgument,
    OutcomeUnknown,
    PermissionDenied,
    PluginError,
    RetryAdvice,
    StoreFull,
    TenureError,
    Unavailable,
)

FAILED = 1
USAGE = 2
UNAVAILABLE = 3
UNKNOWN = 4
NOT_ACQUIRED = 75
LOST = 79
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = (
    (0, "done"),
    (FAILED, "refused or not found: a conflict, a missing key, a limit, something the store can't do"),
    (USAGE, "usage or configuration: arguments, URL, credentials, a plugin that is missing or broken"),
    (UNAVAILABLE, "the store can't be reached or can't serve now; nothing was changed"),
    (UNKNOWN, "outcome unknown: the change was sent and no answer came; read before you try again"),
    (NOT_ACQUIRED, "lock, elect: others held it all the time; trying again later may help"),
    (LOST, "lock, elect: lost while the command ran, which was therefore ended"),
    (INTERRUPTED, "ended by Ctrl-C (run, lock, elect: the exit code of the command, 128+n for signal n)"),
)

_CODES: tuple[tuple[type[TenureError], int], ...] = (
    (OutcomeUnknown, UNKNOWN),
    (Unavailable, UNAVAILABLE),
    (StoreFull, UNAVAILABLE),
    (ConfigError, USAGE),
    (PluginError, USAGE),
    (InvalidArgument, USAGE),
    (AuthenticationFailed, USAGE),
    (PermissionDenied, USAGE),
)

_ORIGINS = {
    ErrorOrigin.CALLER: "what was asked for",
    ErrorOrigin.CONFIGURATION: "configuration",
    ErrorOrigin.CONTENTION: "another client was first",
    ErrorOrigin.STORE: "the store",
    ErrorOrigin.NETWORK: "the store or the way to it",
    ErrorOrigin.PLUGIN: "an installed plugin",
}
_RETRIES = {
    RetryAdvice.SAFE: "trying again is safe",
    RetryAdvice.READ_FIRST: "look at the present state before trying again",
    RetryAdvice.USELESS: "trying the same again won't help",
}


def exit_code(error: TenureError) -> int:
    """The exit code for ``error``: see :data:`EXIT_CODES`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def report(error: TenureError, *, as_json: bool) -> int:
    """Write ``error`` to stderr, as one line or one JSON object; return the exit code."""
    code = exit_code(error)
    if as_json:
        record = {
            "error": type(error).__name__,
            "message": str(error),
            "origin": str(error.origin),
            "retry": str(error.retry),
            "exit_code": code,
        }
        click.echo(json_text(record, ascii_only=True), err=True)
    else:
        hint = "" if isinstance(error, Failed) else f" [{_ORIGINS[error.origin]}; {_RETRIES[error.retry]}]"
        click.echo(f"tenure: {visible(str(error)) or type(error).__name__}{hint}", err=True)
    return code


def report_os_error(error: OSError) -> int:
    """Whatever the system refused this process itself (a full disk under stdout, no memory, no descriptors)."""
    if error.errno == errno.EPIPE:
        _silence_stdout()
        return BROKEN_PIPE
    if error.errno == errno.ENOSPC:
        _silence_stdout()
        click.echo(f"tenure: writing the result: {error.strerror}; make room, and give the command again", err=True)
    else:
        click.echo(f"tenure: {visible(str(error))}", err=True)
    return FAILED


def _silence_stdout() -> None:
    """Discard the buffer after a closed pipe, so that it doesn't fail again when the interpreter exits."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
