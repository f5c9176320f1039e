"""Leave out instances that a caller excludes, and keep those of the nearest zone. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tenure.errors import InvalidArgument
from tenure.registry.model.instance import Instance
from tenure.registry.model.traits import zone_of


def without(service: str, candidates: Sequence[Instance], exclude: Iterable[Instance | str]) -> Sequence[Instance]:
    """Return ``candidates`` without those whose id, or which themselves, are in ``exclude``."""
    if isinstance(exclude, str | bytes) or not isinstance(exclude, Iterable):
        raise InvalidArgument(
            f"picking an instance of {service!r}: exclude is a collection of instances or ids, not {exclude!r:.80}; "
            "put one in a list"
        )
    ids, identities = set(), set()
    for each in exclude:
        if isinstance(each, Instance):
            identities.add((each.id, each.host))
        elif isinstance(each, str):
            ids.add(each)
        else:
            raise InvalidArgument(
                f"picking an instance of {service!r}: exclude takes instances and ids, not {each!r:.80}; give "
                "instances that pick returned"
            )
    return [each for each in candidates if each.id not in ids and (each.id, each.host) not in identities]


def nearest(service: str, candidates: Sequence[Instance], zones: Sequence[str]) -> tuple[str, Sequence[Instance]]:
    """Return the first of ``zones`` that has a candidate, and its candidates; no zone and all candidates if none has.

    An empty name in ``zones`` is that of no zone and is passed over.
    """
    if isinstance(zones, str | bytes) or not isinstance(zones, Iterable):
        raise InvalidArgument(
            f"picking an instance of {service!r}: zones is a list of names in the order of preference, not "
            f"{zones!r:.80}; put one name in a list"
        )
    members: dict[str, list[Instance]] = {}
    for zone in zones:
        if not isinstance(zone, str):
            raise InvalidArgument(
                f"picking an instance of {service!r}: a zone is text, not {zone!r:.80}; give its name"
            )
        if zone:
            members.setdefault(zone, [])
    for each in candidates:
        found = members.get(zone_of(each.meta))
        if found is not None:
            found.append(each)
    return next(((zone, found) for zone, found in members.items() if found), ("", candidates))
