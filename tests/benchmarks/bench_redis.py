"""Redis against redis-py: the same read, and scripts that do the same work on keys of their own.

The raw scripts look for leases that have ended, check, make a revision, and write record, index and log, as ours do.
They forget at once: what ours pays to never apply a write twice is in the ratio. The server writes no file, which
would hide the difference behind its disk.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from measure import Result
from server import KEY, MANY_ROOT, VALUE, ManyTargets, Targets, compare_calls, compare_many, with_server

import tenure

TARGETS = Targets(get=1.0, put=1.1, replace=1.1)
MANY_TARGETS = ManyTargets(listed=2.0)
HISTORY = 10_000

# KEYS: data, index, log, ends of leases. ARGV: key, value, the revision it must have in 8 bytes or nothing, history.
WRITE = r"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if #redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 100) > 0 then return 0 end
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[3] ~= '' and not (before and string.sub(before, 9, 16) == ARGV[3]) then return 0 end
local revision = (tonumber(redis.call('HGET', KEYS[1], '\0') or nil) or 0) + 1
local at = struct.pack('>I8', revision)
local record = (before and string.sub(before, 1, 8) or at) .. at .. '\0' .. ARGV[2]
local text = string.format('%.0f', revision)
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], text .. '-0', 'p' .. ARGV[1], record)
redis.call('HSET', KEYS[1], '\0', text, ARGV[1], record)
if not before then redis.call('ZADD', KEYS[2], 0, ARGV[1]) end
return revision
"""


def run(quick: bool) -> Iterator[Result]:
    def measure(store: tenure.Store, stack: contextlib.ExitStack) -> Iterator[Result]:
        raw = Raw(store)
        stack.callback(raw.close)
        yield from compare_calls("redis", store, raw, TARGETS, seconds=0.8 if quick else 4.0)
        notes = {"listed": "against ZRANGEBYLEX and HMGET, which hold the server up"}
        yield from compare_many("redis", store, raw, quick=quick, targets=MANY_TARGETS, notes=notes)

    yield from with_server("redis", container, measure)


def container() -> AbstractContextManager[Any]:
    from tenure_testkit.servers.redis import RedisServer

    return RedisServer(persistent=False)


class Raw:
    """``redis.Redis`` with hiredis, as the plugin hands it out."""

    def __init__(self, store: tenure.Store) -> None:
        backend: Any = store._backend
        self._client = backend.native
        self._names = backend._pool.names
        self._key = store._prefix + KEY
        self._many = (store._prefix + MANY_ROOT).encode()
        self._own = tuple(f"{{benchmark}}:{part}" for part in ("data", "keys", "log", "expiry"))
        self._script = self._client.script_load(WRITE)
        self._revision = 0

    def get(self) -> object:
        record, revision = self._client.hmget(self._names.data, [self._key, "\0"])
        assert record
        return revision

    def put(self) -> object:
        self._revision = self._write(b"")
        return self._revision

    def replace(self) -> object:
        self._revision = self._write(struct.pack(">Q", self._revision))
        return self._revision

    def _write(self, precondition: bytes) -> int:
        revision = self._client.evalsha(self._script, 4, *self._own, self._key, VALUE, precondition, HISTORY)
        assert revision
        return int(revision)

    def list(self) -> int:
        index = self._names.all[1]
        names = self._client.zrangebylex(index, b"[" + self._many, b"(" + self._many + b"\xff")
        return sum(record is not None for record in self._client.hmget(self._names.data, names))

    def watch(self) -> int:
        newest = self._client.xrevrange(self._names.log, count=1)[0][0]
        found = self.list()
        self._client.xread({self._names.log: newest}, count=1)
        return found

    def close(self) -> None:
        self._client.unlink(*self._own)
