"""Runs in a virtual environment of its own: etcd3 0.12.0 with the old protobuf it was made for.

Reads lines such as ``get 50`` and answers each with the seconds that so many calls took.
"""

import sys
import time

import etcd3


def main() -> None:
    host, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = etcd3.client(host=host, port=port, timeout=5)
    value = b"x" * 100
    client.put(key, value)
    revision = 0

    def compare_and_set() -> None:
        nonlocal revision
        done, answers = client.transaction(
            compare=[client.transactions.mod(key) == revision],
            success=[client.transactions.put(key, value), client.transactions.get(key)],
            failure=[],
        )
        assert done
        revision = answers[1][0][1].mod_revision

    calls = {"get": lambda: client.get(key), "put": lambda: client.put(key, value), "cas": compare_and_set}
    print("ready", flush=True)
    for line in sys.stdin:
        name, number = line.split()
        call = calls[name]
        if name == "cas":
            revision = client.get(key)[1].mod_revision
        started = time.perf_counter()
        for _ in range(int(number)):
            call()
        print(time.perf_counter() - started, flush=True)


main()
