"""Two servers, of which the second follows the first and takes over, without a Sentinel."""

from __future__ import annotations

import pytest

import tenure
from tenure import BatchType, Watch
from tenure_testkit.servers.redis import RedisServer
from tenure_testkit.waiting import until


def catch_up(watch: Watch, state: dict[str, bytes], wanted: dict[str, bytes]) -> list[BatchType]:
    """Follow a watch until it shows what is wanted; answers what kinds of batches it told."""
    kinds = []

    def caught_up() -> bool:
        if state == wanted:
            return True
        batch = watch.next(0.1)
        if batch is not None:
            kinds.append(batch.type)
            for event in batch.events:
                if event.item is None:
                    state.pop(event.key, None)
                else:
                    state[event.key] = event.item.value
        return False

    until(caught_up, 60.0, "the watch shows what is there")
    return kinds


@pytest.mark.faults
@pytest.mark.parametrize("more", [0, 6], ids=["nothing new", "beyond the revision that was seen"])
def test_what_a_replica_lacks_is_told_though_the_last_change_was_elsewhere(redis_node: RedisServer, more: int):
    """The last revision that the watch *told* is lost; so is the last one that its reader *saw*, of another prefix."""
    with RedisServer() as replica:
        replica.ask("REPLICAOF", redis_node.inner_address, str(redis_node.inner_port))
        until(lambda: replica.info("replication")["master_link_status"] == "up", 60.0, "the replica follows")
        hosts = f"127.0.0.1:{redis_node.port},127.0.0.1:{replica.port}"
        with tenure.connect(f"redis://{hosts}", timeout=20) as store, store.watch("a/") as watch:
            state: dict[str, bytes] = {}
            store.put("a/base", b"0")
            catch_up(watch, state, {"a/base": b"0"})
            assert redis_node.ask("WAIT", "1", "5000") == 1
            replica.ask("REPLICAOF", "NO", "ONE")  # from here on it has nothing new
            store.put("a/lost", b"1")
            catch_up(watch, state, {"a/base": b"0", "a/lost": b"1"})
            for _ in range(3):
                last = store.put("b/busy", b"").revision
            until(lambda: (watch.next(0.1), watch.revision >= last)[1], 60.0, "the reader saw what was put elsewhere")
            redis_node.kill()
            with tenure.connect(f"redis://127.0.0.1:{replica.port}", timeout=20) as other:
                for number in range(more):
                    other.put(f"a/{number}", b"new")
                truth = {item.key: item.value for item in other.list("a/")}
                assert len(truth) == 1 + more
                assert BatchType.RESYNC in catch_up(watch, state, truth)
                other.put("a/later", b"")
                catch_up(watch, state, {**truth, "a/later": b""})
