"""``tenure locks``: who holds locks, permits and terms, and who waits."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from tenure._failed import Failed
from tenure._runtime.deadline import wall_clock
from tenure._text import plural, seconds
from tenure.cli.completion import lock_names
from tenure.cli.groups import Group
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column
from tenure.errors import Conflict

if TYPE_CHECKING:
    from tenure._client.store import Store
    from tenure.recipes.survey import Place

_KINDS = ("lock", "semaphore", "election")


def _age(record: Any) -> str:
    return "" if record["age"] is None else seconds(record["age"])


_COMMON = [
    Column("name", lambda r: r["name"], "bold", whole=True),
    Column("kind", lambda r: r["kind"]),
    Column("owner", lambda r: r["owner"], whole=True),
    Column("token", lambda r: r["token"] or "", right=True),
    Column("age", _age, right=True),
]


def _record(place: Place) -> dict[str, Any]:
    return {
        "name": place.name,
        "kind": place.kind,
        "owner": place.owner,
        "holds": place.holds,
        "token": place.token or None,
        "age": None if place.asked is None else max(0.0, round(wall_clock() - place.asked, 3)),
        "key": place.key,
        "lease_id": place.lease_id,
    }


def _folder(place: Place) -> str:
    return place.key.rpartition("/")[0]


@click.group(cls=Group, invoke_without_command=True)
@common()
@settings
@click.pass_context
def locks(context: click.Context, options: Settings) -> None:
    """List who holds locks, permits of semaphores and terms of elections.

    \b
    tenure locks                  each holder, and how many wait
    tenure locks show NAME        also who waits, in order
    tenure locks release NAME     take it away from its holder

    The age counts from when the holder asked, by its own clock: the wait is part of it.
    """
    if context.invoked_subcommand is not None:
        return
    from tenure.recipes.survey import survey

    with options.connect() as store:
        places = survey(store)
    waiting = Counter(_folder(place) for place in places if not place.holds)
    records = [_record(place) | {"waiting": waiting[_folder(place)]} for place in places if place.holds]
    columns = [*_COMMON, Column("waiting", lambda r: r["waiting"], right=True)]
    options.output.listing(records, columns, empty="nothing is held")


_kind = click.option("--kind", type=click.Choice(_KINDS), help="Only this kind, if several have the same name.")


def _found(store: Store, name: str, kind: str | None) -> list[Place]:
    from tenure.recipes.survey import survey

    places = survey(store, name, kinds=_KINDS if kind is None else (kind,))
    if not places:
        raise Failed(f"no client holds {name!r} or waits for it")
    return places


@locks.command()
@click.argument("name", shell_complete=lock_names)
@_kind
@common()
@settings
def show(options: Settings, name: str, kind: str | None) -> None:
    """Show who holds NAME and who waits for it, in order. Exit code 1 if no client does."""
    with options.connect() as store:
        records = [_record(place) for place in _found(store, name, kind)]
    state = Column("state", lambda r: "holds" if r["holds"] else "waits")
    lease = Column("lease", lambda r: r["lease_id"] or "", "dim", whole=True)
    options.output.listing(records, [state, *_COMMON, lease], empty="no client")


@locks.command()
@click.argument("name", shell_complete=lock_names)
@_kind
@click.option("--yes", is_flag=True, help="Don't ask.")
@common()
@settings
def release(options: Settings, *, name: str, kind: str | None, yes: bool) -> None:
    """Take NAME away from its holder, and let the next one have it.

    The store refuses the holder's guarded writes at once. The holder notices the loss at its session's next refresh,
    within seconds, so the next holder may start earlier. When it does, "tenure lock" and "tenure elect" kill their
    command. To take away all that is on the holder's session, use "tenure lease revoke" with the lease that "tenure
    locks show" names.
    """
    from tenure.recipes.survey import release as take_away

    with options.connect() as store:
        places = _found(store, name, kind)
        if len({_folder(place) for place in places}) > 1:
            kinds = sorted({place.kind for place in places})
            raise click.UsageError(f"{name!r} is the name of several: {', '.join(kinds)}; choose one with --kind")
        holders = [place for place in places if place.holds]
        if not holders:
            raise Failed(f"no client holds {name!r}; {plural(len(places), 'participant')} will get it without this")
        who = ", ".join(f"{place.owner} (token {place.token})" for place in holders)
        if not yes:
            click.confirm(f"Take {holders[0].kind} {name!r} away from {who}?", abort=True, err=True)
        try:
            take_away(store, holders)
        except Conflict as exc:
            raise Failed(f"{name!r} has another holder by now, or none; look again") from exc
    options.output.done(
        {"name": name, "kind": holders[0].kind, "released": [_record(place) for place in holders]},
        ("released ", "dim"),
        (name, "bold"),
        (f"  from {who}", "dim"),
    )
