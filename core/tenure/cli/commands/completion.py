"""``tenure completion``: the shell code that completes commands, options, and names from the store."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from tenure.cli.completion import VARIABLE

_SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print the code that lets a shell complete commands and names.")
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
def completion(ctx: click.Context, *, shell: str | None) -> None:
    """Print the code that lets SHELL complete commands, options, services, keys, locks and profiles.

    \b
    bash:  eval "$(tenure completion bash)"                            in ~/.bashrc
    zsh:   eval "$(tenure completion zsh)"                             in ~/.zshrc
    fish:  tenure completion fish > ~/.config/fish/completions/tenure.fish

    Names from the store come from the URL of the command line, the profile or TENURE_URL. If the store doesn't answer
    within a second (TENURE_COMPLETION_TIMEOUT), nothing is completed.
    """
    chosen = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(chosen) if chosen in _SHELLS else None
    if found is None:
        raise click.UsageError(f"name the shell: {', '.join(_SHELLS)}", ctx)
    template = found(ctx.find_root().command, {}, "tenure", VARIABLE)
    click.echo(found.source_template % template.source_vars())
