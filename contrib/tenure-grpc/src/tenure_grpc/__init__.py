"""gRPC channels that choose an instance of a service for each call. ``tenure_grpc.aio`` has the one for asyncio."""

from tenure_grpc.channel import TenureChannel

__all__ = ["TenureChannel"]
