"""What a program shows when its store is down: where it called, and why. The rest is for whoever asks for it."""

from __future__ import annotations

import asyncio
import signal
import traceback
from collections.abc import Iterator

import pytest

import tenure
from tenure import aio
from tenure._plugins import discovery
from tenure.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    PluginError,
    StoreCorrupted,
    TenureError,
    Unavailable,
    Unsupported,
)
from tenure.hookspecs import hookimpl
from tenure.spi import Backend, BackendPlugin, OpenRequest, UrlForm


class Broken:
    """A plugin that translates what its driver raises."""

    error: type[Exception] = Unavailable

    def drive(self) -> None:
        raise OSError("said by the driver")

    @hookimpl
    def tenure_backend(self) -> BackendPlugin:
        return BackendPlugin(scheme="ct-broken", summary="", open=self._open, url_form=UrlForm.NAME, spi_version=1)

    def _open(self, request: OpenRequest) -> Backend:
        try:
            self.drive()
            raise AssertionError("not reached")
        except OSError as exc:
            raise self.error("connecting to Broken: it is down") from exc


@pytest.fixture
def plugin() -> Iterator[Broken]:
    plugin = Broken()
    discovery.register(plugin, "ct-broken")
    yield plugin
    discovery.unregister("ct-broken")


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("error", [Unavailable, DeadlineExceeded, AuthenticationFailed, Unsupported])
def test_the_traceback_ends_at_the_call(
    plugin: Broken, error: type[TenureError], caplog: pytest.LogCaptureFixture
) -> None:
    plugin.error = error
    caplog.set_level("DEBUG", "tenure._client.opening")
    with pytest.raises(error) as caught:
        tenure.connect("ct-broken://x")
    assert shown(caught.value).count("File ") <= 2, "the caller's line, and that of connect"
    assert "said by the driver" not in shown(caught.value)
    assert repr(caught.value.__context__) == "OSError('said by the driver')", "a debugger still finds it"
    assert "said by the driver" in caplog.text, "and the log has all"


def test_an_awaited_connect_shows_as_little(plugin: Broken) -> None:
    async def main() -> None:
        async with aio.connect("ct-broken://x"):
            pass

    with pytest.raises(Unavailable) as caught:
        asyncio.run(main())
    assert "said by the driver" not in shown(caught.value)
    assert "_calls.py" not in shown(caught.value)
    assert isinstance(caught.value.__context__, OSError)


@pytest.mark.parametrize("error", [StoreCorrupted, ZeroDivisionError])
def test_a_fault_of_the_data_or_of_a_plugin_shows_everything(plugin: Broken, error: type[Exception]) -> None:
    plugin.error = error
    with pytest.raises((StoreCorrupted, PluginError)) as caught:
        tenure.connect("ct-broken://x")
    assert "said by the driver" in shown(caught.value)


def test_what_a_signal_handler_raises_shows_where(plugin: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(number: int, frame: object) -> None:
        raise Unavailable("raised by the handler")

    monkeypatch.setattr(plugin, "drive", lambda: signal.raise_signal(signal.SIGUSR1))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Unavailable) as caught:
            tenure.connect("ct-broken://x")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "in drive" in shown(caught.value) or "in handler" in shown(caught.value)
