"""A ``grpc.Channel`` that chooses an instance of a service for each call, and follows the registry meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from tenure import NoInstanceAvailable, ServiceNotFound
from tenure.registry import Instance, Strategy
from tenure_grpc.attempts import Attempts, Picks, connection_options, options
from tenure_grpc.connections import Connection, Connections
from tenure_grpc.failed import NotCalled
from tenure_grpc.links import Closer, Link

_LOOK_AGAIN = 0.05
"""Seconds between two looks into the registry's cache, for a call that waits for an instance."""


_CLOSING = 5.0
"""Seconds that a close waits for gRPC's threads, which look at their end every 0.2 s."""


class TenureChannel(grpc.Channel):  # type: ignore[misc]  # gRPC has no types
    """A channel to the present instances of a service. Stubs are made from it once, and keep working. Thread-safe.

    * Each call goes to an instance that ``Registry.pick`` chooses. An instance that drains, or is gone, gets no new
      call. Calls that are under way on it end as usual. Its connection is closed after the last of them.
    * If no connection can be made, another instance gets the call, whatever its kind: nothing was sent.
    * If a call that was sent ends with ``UNAVAILABLE``, a server may have seen it. Another instance gets it only if the
      method is in ``idempotent``, and only a unary-unary call that isn't a ``future``. Other codes are the caller's.
    * The instance that can't be reached rests, see ``Registry.report_failure``, with all instances at its address.
    * ``timeout`` of a call is for all its attempts. ``wait_for_ready`` waits for an instance.
    * If there is no instance, the call raises ``grpc.RpcError`` with the code ``UNAVAILABLE`` and says why.

    A call on a new connection may wait for ``connect_timeout`` seconds. So may ``future`` and calls with streams. For
    each connection gRPC has a thread, which follows its state.

    Args:
        registry: a started registry. The channel doesn't close it.
        service: the service's name.
        credentials: as for ``grpc.secure_channel``; ``None`` for plain text. A certificate has to be valid for the
            instance's host, unless ``connection`` has ``grpc.ssl_target_name_override``.
        strategy: how to choose, see ``Registry.pick``.
        zones: zones in the order of preference, see ``Registry.pick``.
        sticky: returns the key of a call that chooses its instance, from its method and metadata, or ``None``.
        idempotent: methods that may be executed twice, such as ``"/shop.Shop/Get"``, or a function that knows them.
        attempts: the most instances that one call is tried on.
        connect_timeout: seconds for one attempt to connect.
        connection: options of the connections, as for ``grpc.insecure_channel``.
        compression: as for ``grpc.insecure_channel``.

    Raises:
        ConfigError: an argument is out of range.
    """

    def __init__(
        self,
        registry: Picks,
        service: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        strategy: Strategy | str = Strategy.ROUND_ROBIN,
        zones: Sequence[str] = (),
        sticky: Callable[[str, Sequence[tuple[str, Any]]], str | bytes | None] | None = None,
        idempotent: Collection[str] | Callable[[str], bool] = (),
        attempts: int = 3,
        connect_timeout: float = 2.0,
        connection: Sequence[tuple[str, Any]] = (),
        compression: grpc.Compression | None = None,
    ) -> None:
        self._registry = registry
        self._options = options(
            service,
            strategy=strategy,
            zones=zones,
            sticky=sticky,
            idempotent=idempotent,
            attempts=attempts,
            connect_timeout=connect_timeout,
        )
        settings = connection_options(connect_timeout, connection)

        def make(address: str) -> Link:
            if credentials is None:
                return Link(grpc.insecure_channel(address, settings, compression))
            return Link(grpc.secure_channel(address, credentials, settings, compression))

        self._closer = Closer()
        self._connections: Connections[Link] = Connections(registry, service, make, self._closer.close)

    # -- a call --

    def _attempts(self, method: str, request: dict[str, Any]) -> Attempts:
        self._connections.check()
        patient = bool(request.pop("wait_for_ready", None))
        metadata = tuple(request.get("metadata") or ())
        return Attempts(self._registry, self._options, method, request.get("timeout"), metadata, patient)

    def _connect(self, attempts: Attempts) -> tuple[Instance, Connection[Link]]:
        """Choose an instance and connect to it, or to another one. Give the connection back."""
        while True:
            instance = self._pick(attempts)
            connection = self._connections.take(instance)
            connected = False
            try:
                connected = connection.channel.connect(attempts.for_connecting())
            finally:
                if not connected:
                    self._connections.give_back(connection)
            if connected:
                return instance, connection
            error = NotCalled(grpc.StatusCode.UNAVAILABLE, f"{instance.address} can't be reached")
            if not attempts.not_connected(instance, error):
                raise _late(attempts) or error

    def _pick(self, attempts: Attempts) -> Instance:
        while True:
            try:
                instance = attempts.pick()
            except (NoInstanceAvailable, ServiceNotFound) as exc:
                raise _late(attempts) or attempts.last or NotCalled(grpc.StatusCode.UNAVAILABLE, str(exc)) from exc
            if instance is not None:
                return instance
            threading.Event().wait(min(_LOOK_AGAIN, attempts.left() or _LOOK_AGAIN))

    def _blocking(self, method: _Method, request: Any, given: dict[str, Any]) -> tuple[Any, grpc.Call]:
        attempts = self._attempts(method.name, given)
        while True:
            instance, connection = self._connect(attempts)
            try:
                answer: tuple[Any, grpc.Call] = method.on(connection).with_call(
                    request, **{**given, "timeout": attempts.left()}
                )
            except grpc.RpcError as error:
                if not attempts.ended(instance, error, connected=connection.channel.connected):
                    raise
            else:
                attempts.succeeded(instance)
                return answer
            finally:
                self._connections.give_back(connection)

    def _begin(self, method: _Method, way: str, request: Any, given: dict[str, Any]) -> Any:
        attempts = self._attempts(method.name, given)
        instance, connection = self._connect(attempts)
        try:
            begin = getattr(method.on(connection), way)
            call = begin(request, **{**given, "timeout": attempts.left()})
        except BaseException:
            self._connections.give_back(connection)
            raise

        def ended() -> None:
            self._connections.give_back(connection)
            attempts.ended(instance, call, connected=connection.channel.connected)

        if not call.add_callback(ended):
            ended()
        return call

    # -- grpc.Channel --

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> grpc.UnaryUnaryMultiCallable:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes one request and returns the response. A ``timeout`` is in seconds, for all attempts of
            a call.
        """
        return _UnaryUnary(self, _Method(method, "unary_unary", request_serializer, response_deserializer))

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> grpc.UnaryStreamMultiCallable:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes one request and returns a call that iterates over responses. A ``timeout`` is in
            seconds, for all attempts of a call.
        """
        return _UnaryStream(self, _Method(method, "unary_stream", request_serializer, response_deserializer))

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> grpc.StreamUnaryMultiCallable:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes an iterator of requests and returns the response. A ``timeout`` is in seconds, for all
            attempts of a call.
        """
        return _StreamUnary(self, _Method(method, "stream_unary", request_serializer, response_deserializer))

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> grpc.StreamStreamMultiCallable:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes an iterator of requests and returns a call that iterates over responses. A ``timeout``
            is in seconds, for all attempts of a call.
        """
        return _StreamStream(self, _Method(method, "stream_stream", request_serializer, response_deserializer))

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        """Refuse: there is no one connection to follow. ``Registry.add_handler`` reports instances.

        Args:
            callback: not used.
            try_to_connect: not used.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("subscribe: this channel has many connections; use Registry.add_handler")

    def unsubscribe(self, callback: Any) -> None:
        """Do nothing: nothing was subscribed.

        Args:
            callback: not used.
        """

    def close(self) -> None:
        """Close all connections, and cancel the calls that are under way. Idempotent.

        Waits for the end of all connections, for at most five seconds. On a thread of gRPC's, such as in a callback of
        a call, it waits that long, since a connection can't end meanwhile.
        """
        for link in self._connections.close():
            self._closer.close(link)
        self._closer.wait(_CLOSING)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a service, and how its messages are written."""

    name: str
    kind: str
    serialize: Any
    deserialize: Any

    def on(self, connection: Connection[Link]) -> Any:
        """Return what makes its calls on a connection. Made once for each."""
        found = connection.callables.get(self)
        if found is None:
            make = getattr(connection.channel.channel, self.kind)
            found = connection.callables[self] = make(self.name, self.serialize, self.deserialize)
        return found


def _given(
    timeout: float | None = None,
    metadata: Any = None,
    credentials: grpc.CallCredentials | None = None,
    wait_for_ready: bool | None = None,
    compression: grpc.Compression | None = None,
) -> dict[str, Any]:
    """Return the arguments of a call after the request, in gRPC's order, by their names."""
    return {
        "timeout": timeout,
        "metadata": metadata,
        "credentials": credentials,
        "wait_for_ready": wait_for_ready,
        "compression": compression,
    }


class _UnaryUnary(grpc.UnaryUnaryMultiCallable):  # type: ignore[misc]
    def __init__(self, channel: TenureChannel, method: _Method) -> None:
        self._channel = channel
        self._method = method

    def __call__(self, request: Any, *given: Any, **named: Any) -> Any:
        return self.with_call(request, *given, **named)[0]

    def with_call(self, request: Any, *given: Any, **named: Any) -> tuple[Any, grpc.Call]:
        return self._channel._blocking(self._method, request, _given(*given, **named))

    def future(self, request: Any, *given: Any, **named: Any) -> Any:
        return self._channel._begin(self._method, "future", request, _given(*given, **named))


class _UnaryStream(grpc.UnaryStreamMultiCallable):  # type: ignore[misc]
    def __init__(self, channel: TenureChannel, method: _Method) -> None:
        self._channel = channel
        self._method = method

    def __call__(self, request: Any, *given: Any, **named: Any) -> Any:
        return self._channel._begin(self._method, "__call__", request, _given(*given, **named))


class _StreamUnary(grpc.StreamUnaryMultiCallable):  # type: ignore[misc]
    def __init__(self, channel: TenureChannel, method: _Method) -> None:
        self._channel = channel
        self._method = method

    def __call__(self, request_iterator: Iterator[Any], *given: Any, **named: Any) -> Any:
        return self.future(request_iterator, *given, **named).result()

    def with_call(self, request_iterator: Iterator[Any], *given: Any, **named: Any) -> tuple[Any, grpc.Call]:
        call = self.future(request_iterator, *given, **named)
        return call.result(), call

    def future(self, request_iterator: Iterator[Any], *given: Any, **named: Any) -> Any:
        return self._channel._begin(self._method, "future", request_iterator, _given(*given, **named))


class _StreamStream(grpc.StreamStreamMultiCallable):  # type: ignore[misc]
    def __init__(self, channel: TenureChannel, method: _Method) -> None:
        self._channel = channel
        self._method = method

    def __call__(self, request_iterator: Iterator[Any], *given: Any, **named: Any) -> Any:
        return self._channel._begin(self._method, "__call__", request_iterator, _given(*given, **named))


def _late(attempts: Attempts) -> NotCalled | None:
    if not attempts.late:
        return None
    return NotCalled(grpc.StatusCode.DEADLINE_EXCEEDED, f"no instance took the call within {attempts.timeout:g} s")
