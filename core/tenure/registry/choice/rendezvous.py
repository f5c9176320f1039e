"""Choose an instance by a key, the same one in each process, without any agreement (rendezvous hashing). No I/O.

Each instance draws a number from a hash of the key and its own identity. The lowest number wins. An instance that comes
or leaves changes nobody else's number, so only the keys that it wins or had won move. The numbers are distributed
exponentially with the weight as their rate, so an instance wins a part of the keys in proportion to its weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tenure.errors import InvalidArgument
from tenure.registry.choice.strategies import Strategy
from tenure.registry.model.instance import Instance
from tenure.registry.model.traits import weights_of

_BITS = 52  # so that a draw is exact as a float, above 0 and below 1


def check_sticky(service: str, key: object, strategy: Strategy | str) -> bytes:
    """Return the key as bytes. Raises ``InvalidArgument`` for another type, and for a strategy that was chosen too."""
    if strategy != Strategy.ROUND_ROBIN:
        raise InvalidArgument(
            f"picking an instance of {service!r}: strategy={str(strategy)!r} and sticky=... exclude each other; leave "
            "one of them out"
        )
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return key
    raise InvalidArgument(
        f"picking an instance of {service!r}: a sticky key is text or bytes, not {type(key).__name__}: {key!r:.80}; "
        "give str(...) of it"
    )


def by_key(candidates: Sequence[Instance], key: bytes) -> Instance:
    """Return the one of ``candidates``, which isn't empty, that ``key`` belongs to."""
    import hashlib  # noqa: PLC0415 - it loads OpenSSL, and few programs choose by a key

    start = hashlib.blake2b(len(key).to_bytes(8, "big") + key, digest_size=8)
    chosen, lowest = candidates[0], (math.inf, "", "")
    for instance, weight in zip(candidates, weights_of(candidates), strict=True):
        if weight == 0:
            continue
        drawn = start.copy()
        drawn.update(instance.identity().encode("utf-8", "surrogatepass"))
        part = ((int.from_bytes(drawn.digest(), "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)
        number = (-math.log(part) / weight, instance.id, instance.host)
        if number < lowest:
            chosen, lowest = instance, number
    return chosen
