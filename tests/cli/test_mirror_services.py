"""`tenure mirror` while services move: who looks in the target finds each of them all the time."""

from __future__ import annotations

import pytest

import tenure
import tenure_memory
from tenure.errors import AlreadyRegistered
from tenure.migration.mirror_lock import LOCK, RECORD
from tenure.registry import Instance, Registry, RegistryConfig

from .mirrors import DEADLINE, Running, content, equal, lease_of, wait_until


def test_services_move_without_a_gap(source: tenure.Store, target: tenure.Store) -> None:
    """Seen from the target the service is there from the first moment on: mirrored, then registered by itself."""
    config = RegistryConfig(heartbeat=30.0)
    instance = Instance("web", id="one", host="10.0.0.1", host_name="h", port=8001)
    with Registry(target, config) as new, target.watch("/registry/") as watch:
        with Running(source, target) as running:
            with Registry(source, config) as old:
                old.register(instance)
                new.wait_for("web", 1, DEADLINE)
                with pytest.raises(AlreadyRegistered):
                    new.register(instance)
                new.register(instance.with_metadata({"moved": True}), take_over=True)
                old.update(instance.with_metadata({"late": True}))  # not brought to what stands for itself now
            # Here the source's entry has been deleted.
            source.put("after", b"")
            wait_until(target, lambda: "after" in content(target))
        assert running.mirror.totals.skipped == 2
        with Running(source, target) as running:
            assert running.until("synced")["skipped"] == 1  # a restart skips it too
        target.put("/registry/last", b"")
        told: list[tenure.Event] = []
        while not told or told[-1].key != "/registry/last":
            batch = watch.next(DEADLINE)
            assert batch is not None
            told.extend(batch.events)
        assert [event.type for event in told] == ["create", "update", "create"]
        [entry] = new.get_service("web").instances
        assert entry.meta == {"moved": True}


def test_copies_stay_for_the_lease_grace(source: tenure.Store, target: tenure.Store, names: tuple[str, str]) -> None:
    source.put("service", b"1", lease=source.lease(60))
    with tenure.connect(f"memory://{names[1]}") as own, Running(source, own) as running:
        running.until("synced")
        source.delete("service")
        equal(source, target)
        source.put("service", b"2", lease=source.lease(60))
        equal(source, target)
    # The mirror's own connection is closed: what it left behind goes by its lease and not before.
    assert target.get(LOCK) is None
    tenure_memory.server(names[1]).expire_lease(lease_of(target, "service"))
    assert target.get("service") is None
    assert target.get(RECORD) is not None
