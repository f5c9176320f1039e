"""What changes the store: an edit of a key, and what an operator confirms first.

Nothing here overwrites what the person has not seen: every write has the revision of the page as its precondition. If
the store refuses, the page shows the difference, and the person decides on what is there now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from tenure import CommitResult, Conflict, InvalidArgument, KeyValue, LeaseNotFound, MalformedEntry
from tenure.recipes.survey import release
from tenure.registry import InstanceStatus, decode, encode
from tenure_console.following.entries import registry_prefix
from tenure_console.following.picture import lock_of
from tenure_console.looks import amounts, difference, values
from tenure_console.looks.text import plain
from tenure_console.looks.values import Codec, NotReadable
from tenure_console.pages.site import Site
from tenure_console.web.guard import form_of, session_of

_READ_ONLY = "This console only looks. Start it with --allow-writes to change the store from it."
_COMES_BACK = "If its process runs, it registers again within moments."
_KEEP_AWAY = "Stop the process, or drain the instance, to keep work away from it."
_LATE = "Another client changed it after you saw it, so nothing was done. Look at what is there now."


class Refused(Exception):
    """Why a change can't be made: a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done once it is confirmed.

    Attributes:
        title: what it is, as a heading.
        effects: what happens then, in sentences.
        button: what the button says.
        fields: what the form carries.
        back: the page to return to, and its query.
        danger: whether something is taken away.
        after: what may happen afterwards, as a sentence.
    """

    title: str
    effects: tuple[str, ...]
    button: str
    fields: Mapping[str, str]
    back: tuple[str, Mapping[str, str]]
    danger: bool = True
    after: str = ""


class Changes:
    """The pages that change something. Without the right to write all of them refuse."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._plans: dict[str, Callable[[Mapping[str, str]], Plan]] = {
            "drain": lambda fields: self._plan_status(fields, draining=True),
            "undrain": lambda fields: self._plan_status(fields, draining=False),
            "deregister": self._plan_deregister,
            "delete": self._plan_delete,
            "release": self._plan_release,
            "revoke": self._plan_revoke,
        }
        self._acts: dict[str, Callable[[Mapping[str, str]], CommitResult | None]] = {
            "drain": lambda fields: self._set_status(fields, InstanceStatus.DRAINING),
            "undrain": lambda fields: self._set_status(fields, InstanceStatus.READY),
            "deregister": self._delete,
            "delete": self._delete,
            "release": self._release,
            "revoke": self._revoke,
        }

    # -- with a confirmation -----------------------------------------------------------------------

    def confirm(self, request: Request) -> Response:
        """Ask before something is done."""
        if not self._site.writes:
            return self._site.failed(request, 403, "Read-only", _READ_ONLY)
        act = request.query_params.get("do", "")
        try:
            plan = self._plan(act, request.query_params)
        except Refused as exc:
            return self._site.failed(request, 409, "Not possible now", str(exc))
        return self._site.render(request, "confirm.html", here="", act=act, plan=plan)

    def do(self, request: Request) -> Response:
        """Do what was confirmed."""
        if not self._site.writes:
            return self._site.failed(request, 403, "Read-only", _READ_ONLY)
        form, session = form_of(request), session_of(request)
        act = form.get("do", "")
        try:
            plan = self._plan(act, form)
            done = self._acts[act](form)
        except Refused as exc:
            return self._site.failed(request, 409, "Not done", str(exc))
        except Conflict:
            return self._site.failed(request, 409, "Not done", _LATE)
        except LeaseNotFound as exc:
            return self._site.failed(request, 409, "Not done", f"{exc}.")
        if done is not None:
            self._site.picture.note_own(done.revision, self._site.author(session))
        session.tell(f"Done: {plan.title}. {plan.after}".rstrip())
        path, query = plan.back
        return self._site.back(request, path, **query)

    def _plan(self, act: str, fields: Mapping[str, str]) -> Plan:
        if act not in self._plans:
            raise Refused("The page asked for something that this console doesn't do. Load the page again.")
        return self._plans[act](fields)

    def _instance(self, fields: Mapping[str, str]) -> KeyValue:
        item = self._item(fields)
        if registry_prefix(item.key) is None:
            raise Refused(f"{plain(item.key)} is no registration.")
        return item

    def _item(self, fields: Mapping[str, str]) -> KeyValue:
        key = fields.get("key", "")
        item = self._site.store.get(key) if key else None
        if item is None:
            raise Refused(f"{plain(key) or 'The key'} is gone by now.")
        return item

    def _plan_status(self, fields: Mapping[str, str], *, draining: bool) -> Plan:
        item = self._instance(fields)
        name = plain(item.key.partition("/registry/")[2])
        effects = (
            ("Programs that ask for ready instances send it nothing new. It finishes its work.",)
            if draining
            else ("Programs that ask for ready instances send it work again.",)
        )
        return Plan(
            f"Drain {name}" if draining else f"Make {name} ready",
            (*effects, "It stays so until the instance changes its own entry, or registers again."),
            "Drain" if draining else "Make ready",
            {"key": item.key, "revision": fields.get("revision") or str(item.mod_revision)},
            ("instance", {"key": item.key}),
            danger=draining,
        )

    def _plan_deregister(self, fields: Mapping[str, str]) -> Plan:
        item = self._instance(fields)
        prefix = registry_prefix(item.key) or ""
        return Plan(
            f"Deregister {plain(item.key.removeprefix(prefix))}",
            (
                "Its entry is deleted now, and programs no longer find it.",
                _COMES_BACK,
                _KEEP_AWAY,
            ),
            "Deregister",
            {"key": item.key, "revision": fields.get("revision") or str(item.mod_revision)},
            (
                "service",
                {"registry": prefix[len("/registry/") : -1], "name": item.key[len(prefix) :].rpartition("/")[0]},
            ),
            after=_COMES_BACK,
        )

    def _plan_delete(self, fields: Mapping[str, str]) -> Plan:
        item = self._item(fields)
        is_entry = registry_prefix(item.key) is not None
        return Plan(
            f"Delete {plain(item.key)}",
            (
                f"The key and its value of {amounts.size(len(item.value))} are deleted. There is no way back.",
                *((f"It is the entry of an instance. {_COMES_BACK}", _KEEP_AWAY) if is_entry else ()),
            ),
            "Delete",
            {"key": item.key, "revision": fields.get("revision") or str(item.mod_revision)},
            ("keys", {"prefix": item.key[: item.key.rfind("/") + 1]}),
            after=_COMES_BACK if is_entry else "",
        )

    def _plan_release(self, fields: Mapping[str, str]) -> Plan:
        place = next((place for place in self._site.picture.places() if place.key == fields.get("key")), None)
        if place is None:
            raise Refused("No participant holds it in this place by now.")
        if not place.holds:
            raise Refused(f"{plain(place.owner) or 'This participant'} only waits for it.")
        waiting = sum(not other.holds and lock_of(other) == lock_of(place) for other in self._site.picture.places())
        whom = plain(place.owner) or "its holder"
        return Plan(
            f"Take the {place.kind} {plain(place.name)} from {whom}",
            (
                f"{amounts.plural(waiting, 'participant waits', 'participants wait')}; the next one holds it at once.",
                "The present holder may work on until it notices. Guarded writes of it are refused from now on.",
            ),
            "Take it away",
            {"key": place.key, "revision": fields.get("revision") or str(place.revision)},
            ("locks", {}),
        )

    def _plan_revoke(self, fields: Mapping[str, str]) -> Plan:
        lease_id = fields.get("lease", "")
        entries = self._site.picture.lease(lease_id)
        owner = self._site.picture.owner_of_lease(lease_id)
        if not lease_id:
            raise Refused("No lease is named. Load the page again.")
        return Plan(
            f"Revoke the lease {plain(lease_id)}",
            (
                *((f"It belongs to {plain(owner)}.",) if owner else ()),
                f"With it, {amounts.plural(len(entries), 'key')} of this namespace will be deleted at once.",
                "Its holder finds it lost: an instance registers again, a lock is gone.",
            ),
            "Revoke",
            {"lease": lease_id},
            ("leases", {}),
        )

    def _set_status(self, fields: Mapping[str, str], status: InstanceStatus) -> CommitResult:
        item = self._instance(fields)
        try:
            found = decode(registry_prefix(item.key) or "", item.key, item.value).with_status(status)
        except (MalformedEntry, InvalidArgument) as exc:
            raise Refused(f"The entry can't be written again: {exc}. Edit the value of its key instead.") from exc
        return self._site.store.put_if_unchanged(
            item.key, encode(found), revision=_revision(fields), lease=item.lease_id
        )

    def _delete(self, fields: Mapping[str, str]) -> CommitResult:
        return self._site.store.delete(self._item(fields).key, revision=_revision(fields))

    def _release(self, fields: Mapping[str, str]) -> None:
        revision = _revision(fields)
        places = [p for p in self._site.picture.places() if p.key == fields.get("key") and p.revision == revision]
        if not places:
            raise Refused(_LATE)
        release(self._site.store, places)

    def _revoke(self, fields: Mapping[str, str]) -> None:
        self._site.store.revoke_lease(fields.get("lease", ""))
        self._site.forget_leases()

    # -- an edit -----------------------------------------------------------------------------------

    def edit(self, request: Request) -> Response:
        """Show the form for one key, or for a new one."""
        if not self._site.writes:
            return self._site.failed(request, 403, "Read-only", _READ_ONLY)
        key = request.query_params.get("key", "")
        if request.query_params.get("new") == "1":
            return self._form(request, key=key, revision=0, codec=Codec.TEXT, content="")
        item = self._site.store.get(key) if key else None
        if item is None:
            return self._site.failed(request, 404, "No such key", "The key is gone by now.")
        if len(item.value) > values.MOST_EDITED:
            limit = amounts.size(values.MOST_EDITED)
            return self._site.failed(request, 413, "Too large", f"A form takes values of at most {limit}.")
        codec, content = values.to_form(item.value)
        return self._form(request, key=key, revision=item.mod_revision, codec=codec, content=content)

    def save(self, request: Request) -> Response:
        """Write what the form has, if the key is still as the form was made from."""
        if not self._site.writes:
            return self._site.failed(request, 403, "Read-only", _READ_ONLY)
        form = form_of(request)
        key, content = form.get("key", ""), form.get("content", "")
        codec = Codec(form["codec"]) if form.get("codec") in set(Codec) else Codec.TEXT
        try:
            revision = _revision(form)
            value = values.from_form(content, codec)
        except (NotReadable, Refused) as exc:
            return self._form(
                request, status=400, key=key, revision=_number(form), codec=codec, content=content, problem=str(exc)
            )
        try:
            done = self._write(key, value, revision)
        except Conflict:
            return self._conflict(request, key=key, value=value, codec=codec, content=content, revision=revision)
        session = session_of(request)
        self._site.picture.note_own(done.revision, self._site.author(session))
        session.tell(f"Saved {plain(key)} at revision {done.revision}.")
        return self._site.back(request, "key", key=key)

    def _write(self, key: str, value: bytes, revision: int) -> CommitResult:
        store = self._site.store
        if revision == 0:
            return store.put_if_absent(key, value)
        # The key stays under its lease. If it has another one by now, its revision differs, too.
        present = store.get(key)
        lease = None if present is None else present.lease_id
        return store.put_if_unchanged(key, value, revision=revision, lease=lease)

    def _conflict(
        self, request: Request, *, key: str, value: bytes, codec: Codec, content: str, revision: int
    ) -> Response:
        theirs = self._site.store.get(key)
        last = self._site.picture.history(key, most=1)
        return self._form(
            request,
            status=409,
            key=key,
            revision=0 if theirs is None else theirs.mod_revision,
            codec=codec,
            content=content,
            seen=revision,
            theirs=theirs,
            author=last[0].who if last else "",
            changes=difference.compare(None if theirs is None else theirs.value, value),
        )

    def _form(
        self,
        request: Request,
        *,
        status: int = 200,
        key: str,
        revision: int,
        codec: Codec,
        content: str,
        **more: object,
    ) -> Response:
        given = {"problem": "", "seen": None, "theirs": None, "author": "", "changes": None, **more}
        return self._site.render(
            request,
            "edit.html",
            status=status,
            here="keys",
            key=key,
            revision=revision,
            codec=codec,
            content=content,
            codecs=list(Codec),
            **given,
        )


def _number(fields: Mapping[str, str]) -> int:
    given = fields.get("revision", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 20 else 0


def _revision(fields: Mapping[str, str]) -> int:
    """Return the revision that the person saw. Raises ``Refused``: no change is made without it."""
    given = fields.get("revision", "")
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise Refused("The form names no revision. Load the page again, then repeat it.")
    return int(given)
