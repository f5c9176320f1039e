"""A gRPC server: it registers once it listens, and on SIGTERM it leaves before it stops to take calls.

STORE=sqlite:///tmp/shop.db PORT=50051 python shop_server.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from tenure_workers import Lifespan

from tenure.registry import Instance

PORT = int(os.environ.get("PORT", "50051"))

lifespan = Lifespan(
    os.environ.get("STORE", "memory://"),
    lambda: Instance("shop", host="127.0.0.1", port=PORT),
    drain_wait=float(os.environ.get("DRAIN_WAIT", "1")),
    stop_timeout=float(os.environ.get("STOP_TIMEOUT", "8")),
)


def get(request: bytes, _context: grpc.ServicerContext) -> bytes:
    time.sleep(float(request or 0))
    return b"%d" % PORT


def count(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
    for _ in range(int(request)):
        time.sleep(0.01)
        yield b"%d" % PORT


def main() -> None:
    # A real program has servicers that protoc has made. These take and return bytes.
    methods = {"Get": grpc.unary_unary_rpc_method_handler(get), "Count": grpc.unary_stream_rpc_method_handler(count)}
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("shop.Shop", methods)])
    server.add_insecure_port(f"127.0.0.1:{PORT}")
    server.start()
    with lifespan:
        lifespan.wait()  # for SIGTERM
        lifespan.drain()  # returns once clients have seen it, and the entry is gone
        server.stop(grace=2).wait()  # calls under way have so long


if __name__ == "__main__":
    main()
