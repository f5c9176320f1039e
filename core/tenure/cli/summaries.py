"""What ``tenure --help`` says about each command, so that it imports none of them. A test compares it with them."""

from __future__ import annotations

import click

SUMMARIES = {
    "demo": "See it work: processes register, change, stop and die.",
    "run": "Run a command that is registered while it runs.",
    "register": "Keep something registered that runs elsewhere.",
    "lock": "Run a command while holding a lock.",
    "elect": "Run a command while leading an election.",
    "locks": "List who holds locks, permits of semaphores and terms of elections.",
    "services": "List the services.",
    "instances": "List the instances of a service.",
    "healthy": "Check a store or a service by an exit code, as a container's probe.",
    "watch": "Show services as they come and go.",
    "agent": "Watch a store once for all programs of this host.",
    "kv": "Get, put, delete, list and watch keys.",
    "lease": "List, show and revoke leases.",
    "backends": "List the installed store plugins.",
    "new-backend": "Write out the package of a new store plugin.",
    "guide": "Print the pages for authors of stores and operators.",
    "doctor": "Try a store; show its guarantees, limits and risks.",
    "conformance": "Check that a store keeps its guarantees.",
    "copy": "Copy a namespace from one store to another.",
    "mirror": "Keep a namespace the same in another store.",
    "export": "Write a namespace to a file.",
    "import": "Write a file of 'tenure export' into a namespace.",
    "completion": "Print the code that lets a shell complete commands and names.",
}


class Listed(click.Group):
    """Stands in for a group of commands on its help page, in the order given."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def stand_in(name: str) -> click.Command | None:
    """Return what the help page shows for a command; ``None`` if that has to be asked."""
    summary = SUMMARIES.get(name)
    return None if summary is None else click.Command(name, short_help=summary)
