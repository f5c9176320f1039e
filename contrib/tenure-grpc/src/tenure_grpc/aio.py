"""A ``grpc.aio.Channel`` that chooses an instance of a service for each call: the same rules as ``TenureChannel``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio

from tenure import NoInstanceAvailable, ServiceNotFound
from tenure.plugin_kit import Deadline
from tenure.registry import Instance, Strategy
from tenure_grpc.attempts import Attempts, Picks, connection_options, options
from tenure_grpc.connections import Connection, Connections

__all__ = ["TenureChannel"]

_LOOK_AGAIN = 0.05
"""Seconds between two looks into the registry's cache, for a call that waits for an instance."""
_ARGUMENTS = ("timeout", "metadata", "credentials", "wait_for_ready", "compression")
"""The arguments of a call after the request, in gRPC's order."""
_FAILED = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)


class TenureChannel(grpc.aio.Channel):  # type: ignore[misc]  # gRPC has no types
    """A channel to the present instances of a service, for asyncio. Stubs are made from it once, and keep working.

    * Each call goes to an instance that ``Registry.pick`` chooses. An instance that drains, or is gone, gets no new
      call. Calls that are under way on it end as usual. Its connection is closed after the last of them.
    * If no connection can be made, another instance gets the call, whatever its kind: nothing was sent.
    * If a call that was sent ends with ``UNAVAILABLE``, a server may have seen it. Another instance gets it only if the
      method is in ``idempotent``, and only a unary-unary call. Any other status is the caller's.
    * The instance that can't be reached rests, see ``Registry.report_failure``, with all instances at its address.
    * ``timeout`` of a call is for all its attempts. ``wait_for_ready`` waits for an instance.
    * If there is no instance, the call raises ``grpc.aio.AioRpcError`` with the code ``UNAVAILABLE``.
    * A call that is cancelled is cancelled on its instance.

    Args:
        registry: a started registry, of ``tenure.aio`` or a synchronous one. The channel doesn't close it.
        service: the service's name.
        credentials: as for ``grpc.aio.secure_channel``; ``None`` for plain text. A certificate has to be valid for the
            instance's host, unless ``connection`` has ``grpc.ssl_target_name_override``.
        strategy: how to choose, see ``Registry.pick``.
        zones: zones in the order of preference, see ``Registry.pick``.
        sticky: returns the key of a call that chooses its instance, from its method and metadata, or ``None``.
        idempotent: methods that may be executed twice, such as ``"/shop.Shop/Get"``, or a function that knows them.
        attempts: the most instances that one call is tried on.
        connect_timeout: seconds for one attempt to connect.
        connection: options of the connections, as for ``grpc.aio.insecure_channel``.
        compression: as for ``grpc.aio.insecure_channel``.
        interceptors: as for ``grpc.aio.insecure_channel``. They see each attempt.

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
        interceptors: Sequence[Any] = (),
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
        self._tasks: set[asyncio.Task[None]] = set()
        settings = connection_options(connect_timeout, connection)

        def make(address: str) -> grpc.aio.Channel:
            if credentials is None:
                return grpc.aio.insecure_channel(address, settings, compression, list(interceptors))
            return grpc.aio.secure_channel(address, credentials, settings, compression, list(interceptors))

        self._connections: Connections[grpc.aio.Channel] = Connections(registry, service, make, self._close_soon)

    def _close_soon(self, channel: grpc.aio.Channel) -> None:
        self._soon(channel.close())

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- a call --

    def _attempts(self, method: str, given: dict[str, Any]) -> Attempts:
        self._connections.check()
        patient = bool(given.pop("wait_for_ready", None))
        metadata = tuple(given.get("metadata") or ())
        return Attempts(self._registry, self._options, method, given.get("timeout"), metadata, patient)

    async def _connect(self, attempts: Attempts) -> tuple[Instance, Connection[grpc.aio.Channel]]:
        """Choose an instance and connect to it, or to another one. Give the connection back."""
        while True:
            instance = await self._pick(attempts)
            connection = self._connections.take(instance)
            ready = False
            try:
                ready = await _becomes_ready(connection.channel, attempts.for_connecting())
            finally:
                if not ready:
                    self._connections.give_back(connection)
            if ready:
                return instance, connection
            error = _not_called(grpc.StatusCode.UNAVAILABLE, f"{instance.address} can't be reached")
            if not attempts.not_connected(instance, error):
                raise _late(attempts) or error

    async def _pick(self, attempts: Attempts) -> Instance:
        while True:
            try:
                instance = attempts.pick()
            except (NoInstanceAvailable, ServiceNotFound) as exc:
                raise _late(attempts) or attempts.last or _not_called(grpc.StatusCode.UNAVAILABLE, str(exc)) from exc
            if instance is not None:
                return instance
            await asyncio.sleep(min(_LOOK_AGAIN, attempts.left() or _LOOK_AGAIN))

    async def _begin(self, method: _Method, request: Any, given: dict[str, Any], attempts: Attempts) -> Any:
        """Begin the call on an instance. It gives the connection back when it ends."""
        instance, connection = await self._connect(attempts)
        try:
            call = method.on(connection)(request, **{**given, "timeout": attempts.left()})
        except BaseException:
            self._connections.give_back(connection)
            raise

        call.add_done_callback(lambda _call: self._connections.give_back(connection))
        return instance, call, connection.channel

    # -- grpc.aio.Channel --

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes one request and returns a call to await. A ``timeout`` is in seconds, for all attempts
            of a call.
        """
        return _Callable(self, _Method(method, "unary_unary", request_serializer, response_deserializer))

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes one request and returns a call that iterates over responses. A ``timeout`` is in
            seconds, for all attempts of a call.
        """
        return _Callable(self, _Method(method, "unary_stream", request_serializer, response_deserializer))

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes an iterator of requests and returns a call to await. A ``timeout`` is in seconds, for
            all attempts of a call.
        """
        return _Callable(self, _Method(method, "stream_unary", request_serializer, response_deserializer))

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
    ) -> Any:
        """Return what makes calls of a method, as for any channel. Makes no connection.

        Args:
            method: the method's full name, such as ``/shop.Shop/Get``.
            request_serializer: makes bytes of a request; ``None``: each request is bytes.
            response_deserializer: makes a response of bytes; ``None``: each response is bytes.

        Returns:
            A callable that takes an iterator of requests and returns a call that iterates over responses. A ``timeout``
            is in seconds, for all attempts of a call.
        """
        return _Callable(self, _Method(method, "stream_stream", request_serializer, response_deserializer))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return whether a call would find an instance. Makes no connection.

        Args:
            try_to_connect: not used: a call connects.

        Returns:
            ``READY`` while the registry knows an instance that accepts calls, else ``TRANSIENT_FAILURE``.

        Raises:
            StoreClosed: the registry has not started.
        """
        try:
            ready = self._registry.get_service(self._options.service).ready
        except (ServiceNotFound, NoInstanceAvailable):
            ready = ()
        return grpc.ChannelConnectivity.READY if ready else grpc.ChannelConnectivity.TRANSIENT_FAILURE

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until :meth:`get_state` returns another state. There is no time limit; ``asyncio.timeout`` sets one.

        Args:
            last_observed_state: the state to wait for the end of.

        Raises:
            StoreClosed: the registry has not started.
        """
        while self.get_state() is last_observed_state:
            await asyncio.sleep(_LOOK_AGAIN)

    async def channel_ready(self) -> None:
        """Wait until the registry knows an instance that accepts calls. There is no time limit.

        Raises:
            StoreClosed: the registry has not started.
        """
        while self.get_state() is not grpc.ChannelConnectivity.READY:
            await asyncio.sleep(_LOOK_AGAIN)

    async def close(self, grace: float | None = None) -> None:
        """Close all connections. Idempotent.

        Args:
            grace: seconds for calls that are under way; then they are cancelled. ``None`` cancels them at once.
        """
        channels = self._connections.close()
        await asyncio.gather(*self._tasks, *(channel.close(grace) for channel in channels), return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of a service, and how its messages are written."""

    name: str
    kind: str
    serialize: Any
    deserialize: Any

    def on(self, connection: Connection[grpc.aio.Channel]) -> Any:
        """Return what makes its calls on a connection. Made once for each."""
        found = connection.callables.get(self)
        if found is None:
            make = getattr(connection.channel, self.kind)
            found = connection.callables[self] = make(self.name, self.serialize, self.deserialize)
        return found


class _Callable:
    """Makes calls of one method."""

    def __init__(self, channel: TenureChannel, method: _Method) -> None:
        self._channel = channel
        self._method = method

    def __call__(self, request: Any = None, *given: Any, request_iterator: Any = None, **named: Any) -> _Call:
        return _Call(
            self._channel, self._method, request if request_iterator is None else request_iterator, given, named
        )


class _Call:
    """A call: it looks for its instance in a task, and is then what that instance's connection has made of it."""

    def __init__(
        self, channel: TenureChannel, method: _Method, request: Any, given: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._method = method
        self._request = request
        self._given = dict(zip(_ARGUMENTS, given, strict=False)) | named
        self._attempts = channel._attempts(method.name, self._given)
        self._inner: Any = None
        self._callbacks: list[Callable[[Any], None]] = []
        run = self._ask if method.kind == "unary_unary" else self._start
        self._task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(run(), name=f"call {method.name}")
        self._task.add_done_callback(self._started)
        self._responses: AsyncIterator[Any] | None = None

    async def _ask(self) -> Any:
        """Get the answer of one instance, or of another one where that is safe."""
        while True:
            instance, self._inner, channel = await self._begin()
            try:
                answer = await self._inner
            except grpc.aio.AioRpcError as error:
                if not self._attempts.ended(instance, error, connected=_connected(channel)):
                    raise
            else:
                self._attempts.succeeded(instance)
                return answer

    async def _start(self) -> None:
        instance, self._inner, channel = await self._begin()
        self._inner.add_done_callback(lambda call: self._channel._soon(self._report(instance, channel, call)))

    async def _report(self, instance: Instance, channel: grpc.aio.Channel, call: Any) -> None:
        outcome = _not_called(await call.code(), str(await call.details()))
        self._attempts.ended(instance, outcome, connected=_connected(channel))

    async def _begin(self) -> Any:
        return await self._channel._begin(self._method, self._request, self._given, self._attempts)

    def _started(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # whoever awaits the call gets it; nobody has to
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._when_done(callback)

    def _when_done(self, callback: Callable[[Any], None]) -> None:
        if self._inner is None or self._method.kind == "unary_unary":
            callback(self)
        else:
            self._inner.add_done_callback(lambda _call: callback(self))

    async def _found(self) -> Any:
        """Wait for the instance, or for a unary call's answer. Returns the call on it, or the error without one."""
        try:
            await asyncio.shield(self._task)
        except grpc.aio.AioRpcError as error:
            if self._inner is None:
                return _Ended(error)
        return self._inner

    # -- grpc.aio.Call --

    def __await__(self) -> Generator[Any, None, Any]:
        answer = yield from self._task.__await__()
        if self._method.kind != "unary_unary":
            answer = yield from self._inner.__await__()
        return answer

    async def __aiter__(self) -> AsyncIterator[Any]:
        await self._task
        async for response in self._inner:
            yield response

    async def read(self) -> Any:
        """Read one response; ``grpc.aio.EOF`` after the last."""
        await self._task
        return await self._inner.read()

    async def write(self, request: Any) -> None:
        """Send one request."""
        await self._task
        await self._inner.write(request)

    async def done_writing(self) -> None:
        """Say that there are no more requests."""
        await self._task
        await self._inner.done_writing()

    async def wait_for_connection(self) -> None:
        """Wait until there is a connection. Raises ``grpc.aio.AioRpcError`` if there is none."""
        await asyncio.shield(self._task)

    async def initial_metadata(self) -> Any:
        """Return what the server sent first."""
        return await (await self._found()).initial_metadata()

    async def trailing_metadata(self) -> Any:
        """Return what the server sent last."""
        return await (await self._found()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """Return the status, once the call has ended."""
        return await (await self._found()).code()

    async def details(self) -> Any:
        """Return the status' details, once the call has ended."""
        return await (await self._found()).details()

    async def debug_error_string(self) -> Any:
        """Return gRPC's own notes, once the call has ended."""
        return await (await self._found()).debug_error_string()

    def cancel(self) -> bool:
        """Cancel the call. Returns ``False`` if it has ended."""
        if not self._task.done():
            return self._task.cancel()
        return False if self._inner is None else bool(self._inner.cancel())

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._task.cancelled() or (self._inner is not None and bool(self._inner.cancelled()))

    def done(self) -> bool:
        """Return whether it has ended."""
        if not self._task.done():
            return False
        return self._method.kind == "unary_unary" or self._inner is None or bool(self._inner.done())

    def time_remaining(self) -> float | None:
        """Return the seconds until the call's timeout; ``None`` without one."""
        return self._attempts.left()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call ``callback(call)`` when it has ended."""
        if self._task.done():
            self._when_done(callback)
        else:
            self._callbacks.append(callback)


class _Ended:
    """A call that no instance got."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    async def initial_metadata(self) -> Any:
        return self._error.initial_metadata()

    async def trailing_metadata(self) -> Any:
        return self._error.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        return self._error.code()

    async def details(self) -> Any:
        return self._error.details()

    async def debug_error_string(self) -> Any:
        return self._error.debug_error_string()


def _not_called(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details, details)


def _late(attempts: Attempts) -> grpc.aio.AioRpcError | None:
    if not attempts.late:
        return None
    reason = f"no instance took the call within {attempts.timeout:g} s"
    return _not_called(grpc.StatusCode.DEADLINE_EXCEEDED, reason)


def _connected(channel: grpc.aio.Channel) -> bool:
    try:
        return bool(channel.get_state() is grpc.ChannelConnectivity.READY)
    except grpc.aio.UsageError:  # it was closed
        return False


async def _becomes_ready(channel: grpc.aio.Channel, seconds: float) -> bool:
    """Connect. Returns whether there is a connection; ``False`` as soon as an attempt has failed."""
    state = channel.get_state(try_to_connect=True)
    if state is grpc.ChannelConnectivity.READY:
        return True
    limit = Deadline(seconds)
    while state is not grpc.ChannelConnectivity.READY and state not in _FAILED and not limit.expired:
        try:
            async with asyncio.timeout(limit.remaining()):
                await channel.wait_for_state_change(state)
        except TimeoutError:
            return False
        state = channel.get_state(try_to_connect=True)
    return state is grpc.ChannelConnectivity.READY
