"""Rules about the service registry on this store that need no fault."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial

from tenure._client.store import Store
from tenure.conformance.harness.assertions import EVENT_TIMEOUT, inconclusive
from tenure.conformance.harness.context import RuleContext
from tenure.conformance.harness.rule import Rules, parallel_safe
from tenure.conformance.workloads.leases import CLOCK_TOLERANCE
from tenure.errors import AlreadyRegistered, LeaseLost, LeaseNotFound, ServiceNotFound
from tenure.leases import Lease
from tenure.registry import EventType, Instance, InstanceEvent, Registry, RegistryConfig, Service

_ATTEMPTS = 4


def instance(number: int = 0, *, service: str = "web", **meta: object) -> Instance:
    """Return an instance without data of this machine."""
    return Instance(
        service,
        id=f"id-{number}",
        host=f"10.0.0.{number + 1}",
        host_name=f"host{number}",
        port=8000 + number,
        meta=meta,
    )


def opened(context: RuleContext, config: RegistryConfig, instance: Instance | None = None) -> Registry:
    """Return a registry on a connection of its own."""
    return context.make(Registry, context.connect(), config, instance)


class RegistryRules(Rules, area="registry"):
    """Services and their instances."""

    def _config(self, context: RuleContext, *, short: bool = False) -> RegistryConfig:
        return RegistryConfig(heartbeat=context.short_ttl if short else context.long_ttl)

    def _count(
        self, context: RuleContext, registry: Registry, count: int, did: str, *, within: float = EVENT_TIMEOUT
    ) -> None:
        look = partial(self._known, registry)
        context.check.eventually(look, lambda seen: seen == count, did, expected=f"{count} instances", within=within)

    def _known(self, registry: Registry) -> int:
        try:
            return len(registry.get_service("web"))
        except ServiceNotFound:
            return 0

    def _found(
        self, context: RuleContext, registry: Registry, count: int, did: str, *, service: str = "web"
    ) -> Service:
        try:
            return registry.wait_for(service, count, EVENT_TIMEOUT)
        except ServiceNotFound as exc:
            raise context.check.fail(did, expected=f"{count} instances of {service!r}", seen=str(exc)) from exc

    def test_registry_registers_updates_deregisters(self, context: RuleContext) -> None:
        """Another registry sees each register, update and deregister, also of the last instance."""
        config = self._config(context)
        with (
            opened(context, config) as observer,
            opened(context, config) as registry,
        ):
            registry.register(instance(version="1"))
            found = self._found(context, observer, 1, "registered")
            context.check.equal([each.meta["version"] for each in found], ["1"], "register seen by another")
            registry.update(instance(version="2"))
            context.check.eventually(
                lambda: observer.get_service("web").instances[0].meta["version"],
                lambda version: version == "2",
                "update seen by another",
                expected="2",
            )
            registry.deregister()
            self._count(context, observer, 0, "deregister seen by another")
            find = partial(observer.get_service, "web")
            context.check.raises(ServiceNotFound, find, "get_service after the last instance left")

    def test_registry_keeps_the_wire_format(self, context: RuleContext) -> None:
        """An instance is one key /registry/<name>/<service>/<id>@<host> with JSON of six fields."""
        config = self._config(context)
        with opened(context, config) as registry:
            mine = registry.register(instance(colour="blue"))
            key = f"/registry/default/web/{mine.id}@{mine.host}"
            item = context.store.get(key)
            expected = {
                "id": "id-0",
                "host": "10.0.0.1",
                "host_name": "host0",
                "port": 8000,
                "service_name": "web",
                "meta": {"colour": "blue"},
            }
            context.check.equal(item and json.loads(item.value), expected, f"the JSON at {key!r}")
            other = {**expected, "id": "go", "host": "10.9.9.9"}
            context.store.put("/registry/default/web/go@10.9.9.9", json.dumps(other).encode())
            found = self._found(context, registry, 2, "wrote an entry beside one's own")
            context.check.equal({each.id for each in found}, {"id-0", "go"}, "an entry written by another program")

    def test_registry_refuses_a_second_of_the_same_identity(self, context: RuleContext) -> None:
        """Registering an identity that is already registered is AlreadyRegistered, and changes nothing."""
        config = self._config(context)
        with (
            opened(context, config) as first,
            opened(context, config) as second,
        ):
            first.register(instance(owner="first"))
            context.check.raises(
                AlreadyRegistered, lambda: second.register(instance(owner="second"), wait=0.0), "register"
            )
            found = self._found(context, second, 1, "refused a second registration")
            context.check.equal([each.meta["owner"] for each in found], ["first"], "the instance afterwards")

    def test_registry_clean_stop_is_seen_at_once(self, context: RuleContext) -> None:
        """Closing a registry removes its instance at once, long before its heartbeat has passed."""
        config = self._config(context)
        with opened(context, config) as observer:
            with opened(context, config, instance()):
                self._found(context, observer, 1, "registered")
            self._count(context, observer, 0, "closed the registry of an instance")

    @parallel_safe
    def test_registry_crash_is_seen_within_the_leases_time(self, context: RuleContext) -> None:
        """An instance whose process vanishes is removed by the worst case of its lease."""
        store = context.connect()
        mine = instance()
        with opened(context, self._config(context)) as observer:
            lease = _left_behind(context, store, mine)
            self._found(context, observer, 1, "put an entry")
            limit = lease.max_lifetime_after_refresh + context.capabilities.max_watch_latency + CLOCK_TOLERANCE
            self._count(context, observer, 0, "let the lease of an instance expire", within=limit)

    @parallel_safe
    def test_registry_heartbeat_keeps_an_instance(self, context: RuleContext) -> None:
        """A registered instance stays as long as its process lives, longer than its heartbeat."""
        config = self._config(context, short=True)
        events: list[InstanceEvent] = []
        with (
            opened(context, config, instance()) as registry,
            opened(context, config) as observer,
        ):
            self._found(context, observer, 1, "registered")
            observer.add_handler(events.append)  # receives a leave, too, that is over before the next read
            lease = registry.lease
            if lease is None:
                raise context.check.fail("registered", expected="a lease", seen=None)
            end = time.monotonic() + lease.max_lifetime_after_refresh * 1.2
            context.check.eventually(
                lambda: (self._known(observer), time.monotonic() > end),
                lambda seen: seen[0] != 1 or seen[1],
                "kept an instance registered",
                expected="the end of the observation",
                within=lease.max_lifetime_after_refresh * 2 + EVENT_TIMEOUT,
            )
            kept = f"kept an instance registered for {lease.max_lifetime_after_refresh * 1.2:.1f} s"
            context.check.equal(self._known(observer), 1, f"{kept}: the instances afterwards")
            left = [event.type.value for event in events if event.type is EventType.DELETE]
            context.check.equal(left, [], f"{kept}: the deletes delivered meanwhile")

    @parallel_safe
    def test_registry_deregistered_stays_away(self, context: RuleContext) -> None:
        """After deregister no heartbeat brings the instance back, and the same identity can register again."""
        config = self._config(context, short=True)
        with opened(context, config, instance()) as registry:
            registry.deregister()
            key = f"/registry/default/web/{instance().id}@{instance().host}"
            end = time.monotonic() + context.short_ttl
            context.check.eventually(
                lambda: (context.store.get(key) is None, time.monotonic() > end),
                lambda seen: not seen[0] or seen[1],
                "deregistered, then waited for longer than a heartbeat",
                expected="the end of the observation",
                within=context.short_ttl + EVENT_TIMEOUT,
            )
            context.check.equal(context.store.get(key), None, "the key of a deregistered instance")
            registry.register(instance())
            context.check.true(context.store.get(key) is not None, "registered again", expected="the key", seen=None)

    def test_registry_an_entry_deleted_by_others_comes_back(self, context: RuleContext) -> None:
        """An instance whose entry another client deletes is registered again, under a lease that is alive."""
        with (
            opened(context, self._config(context), instance()) as mine,
            opened(context, self._config(context)) as observer,
        ):
            self._count(context, observer, 1, "registered an instance")
            (key,) = (item.key for item in context.store.list("/registry/"))
            deleted = context.store.delete(key).revision
            again = context.check.eventually(
                lambda: context.store.get(key),
                lambda item: item is not None and item.mod_revision > deleted,
                "deleted the entry of a registered instance",
                expected="it is there again",
                within=self._config(context).heartbeat / 10 + EVENT_TIMEOUT,
            )
            context.check.true(
                again is not None and again.lease_id is not None,
                "deleted the entry of a registered instance",
                expected="it is there again, under a lease",
                seen=again,
            )
            self._count(context, observer, 1, "deleted the entry of a registered instance")
            self._count(context, mine, 1, "deleted the entry of a registered instance")

    def test_registry_handlers_are_called_in_order(self, context: RuleContext) -> None:
        """Handlers receive the create, upserts and delete of an instance, each once, in order."""
        config = self._config(context)
        seen: list[tuple[str, object]] = []

        def handle(event: InstanceEvent) -> None:
            seen.append((event.type.value, event.instance.meta.get("turn")))

        def wait_for_event(number: int, did: str) -> None:
            expected = f"event number {number}"
            context.check.eventually(lambda: list(seen), lambda events: len(events) >= number, did, expected=expected)

        with (
            opened(context, config) as observer,
            opened(context, config) as registry,
        ):
            observer.add_handler(handle, service="web")
            # One after the other: a store without lossless_watch may deliver only the last of several.
            registry.register(instance(turn=0))
            wait_for_event(1, "registered")
            for turn in range(1, 4):
                registry.update(instance(turn=turn))
                wait_for_event(turn + 1, f"updated to turn {turn}")
            registry.deregister()
            wait_for_event(5, "deregistered")
        expected = [("create", 0), ("upsert", 1), ("upsert", 2), ("upsert", 3), ("delete", 3)]
        context.check.equal(seen, expected, "the events of register, three updates, deregister")

    def test_registry_many_instances_are_all_found(self, context: RuleContext) -> None:
        """Many instances of several services are found by every observer, each under its own service alone."""
        config = self._config(context)
        stores: list[Store] = [context.connect() for _ in range(2)]
        with ExitStack() as stack:
            observers = [stack.enter_context(context.make(Registry, store, config)) for store in stores]
            for number in range(12):
                service = "web" if number % 3 else "web2"
                stack.enter_context(
                    context.make(Registry, stores[number % 2], config, instance(number, service=service))
                )
            for observer in observers:
                web = self._found(context, observer, 8, "registered twelve instances")
                other = self._found(context, observer, 4, "registered twelve instances", service="web2")
                context.check.equal((len(web), len(other)), (8, 4), "instances of 'web' and of 'web2'")


def _left_behind(context: RuleContext, store: Store, mine: Instance) -> Lease:
    """Leave what a vanished process leaves: its key, on an unrefreshed lease."""
    value = json.dumps(mine.to_dict()).encode()
    for attempt in range(1, _ATTEMPTS + 1):
        lease = store.lease(min(context.short_ttl * attempt, context.capabilities.max_ttl), keep_alive=False)
        try:
            store.put(f"/registry/default/web/{mine.id}@{mine.host}", value, lease=lease)
        except (LeaseLost, LeaseNotFound):
            continue  # granting and putting took longer than the TTL
        return lease
    raise inconclusive(context.rule, "leases ended before their keys were put; the machine may be overloaded")
