"""The suite as one class, to be subclassed by a store's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tenure.conformance.catalogue import AllRules
from tenure.conformance.controls.controls import Driver
from tenure.conformance.harness.assertions import RuleInconclusive
from tenure.conformance.harness.context import TIMEOUT, Experiment, World
from tenure.conformance.harness.rule import Rule, catalogue
from tenure.conformance.network import Network
from tenure.conformance.pytest.stash import OPENING, WHY_NOT
from tenure.conformance.runner.control_monitor import ControlMonitor
from tenure.conformance.runner.recovery import Recovery
from tenure.errors import Unavailable


class StoreConformance(AllRules):
    """Every rule that a store has to keep. Prove yours by subclassing, in a test file of your own::

        from tenure.conformance import StoreConformance

        class TestMyStore(StoreConformance):
            url = "mystore://127.0.0.1:7000"

    and run ``pytest``. The URL is opened through your plugin's entry point, as an application would do it. It has
    to name a store that several connections of one process share. The suite works in namespaces with random
    names, never touches other data, and removes what it wrote; keys of yours may be in the store.

    If the URL is known only when the tests run, leave out ``url`` and write a fixture::

        class TestMyStore(StoreConformance):
            @pytest.fixture
            def store_url(self, my_server):
                return my_server.url

    **Optional promises.** What your backend declares in its capabilities is checked; a rule about a promise that
    it doesn't declare is skipped as *not supported*, and other rules check that the operation is then refused by
    ``Unsupported``. All other rules hold for every store. Time limits follow from the limits you declare.

    **Outages.** What can be done to a connection the suite does by itself: where the URL names hosts, it stands
    between client and server. Rules about a server that dies or freezes need your help: give a ``driver`` fixture
    with the controls you have; the rules that need others are skipped as *not checked*::

            @pytest.fixture
            def driver(self, my_server):
                return Driver(kill=my_server.kill, start=my_server.start)

    ``tenure.conformance.controls.ready_made`` has ready-made ones, for a container, a process, or commands of a shell.

    **Reading a failure.** It names the rule and its promise, what the rule did, what it expected and what it saw.
    A rule that could not be judged, because too little happened, fails as ``RuleInconclusive``.

    **Choosing.** ``pytest -k leases`` runs an area, ``-k test_kv_missing`` some rules. The last lines of the run
    count the rules and name those that did not run: a store is conformant only if all of them did, or were not
    supported; one that something else skips is invalid. ``pytest --tenure-report FILE`` writes the same report as
    the command ``tenure conformance`` (not with pytest-xdist). A rule can't be overridden or dropped in a subclass;
    tests of your own are welcome there.

    For a quick look without a file: ``pytest --pyargs tenure.conformance.pytest.quick --tenure-url URL``.
    """

    url: ClassVar[str | None] = None
    memo: ClassVar[dict[str, Experiment]] = {}
    """Results of experiments that several rules look at; every subclass has its own."""
    left_down: ClassVar[dict[str, str]] = {}
    """Why a store can't be opened any more, by its URL, where the driver's controls are to blame."""
    _tenure_catalogue: ClassVar[dict[str, Rule]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.memo, cls.left_down = {}, {}
        cls._tenure_catalogue = catalogue(cls)
        if "world" in vars(cls):
            raise TypeError(
                f"{cls.__qualname__} replaces the fixture 'world', which the rules act in: override store_url"
            )

    @pytest.fixture
    def store_url(self, request: pytest.FixtureRequest) -> str:
        """The URL of the store under test."""
        url = self.url or request.config.getoption("tenure_url", default=None)
        if url is None:
            raise pytest.UsageError(
                f"{type(self).__name__} doesn't say which store to test: set its attribute 'url', override its fixture "
                "'store_url', or run pytest with --tenure-url URL"
            )
        return str(url)

    @pytest.fixture
    def driver(self) -> Driver:
        """Controls over the server; none unless overridden."""
        return Driver()

    @pytest.fixture
    def network(self, store_url: str) -> Iterator[Network | None]:
        """Stands before the store for the rules about connections; ``None`` where it isn't reached by host and port.

        Override it to give ``None`` where the server sends its clients to addresses of its own: those rules are
        then reported as not supported.
        """
        network = Network.in_front_of(store_url)
        yield network
        if network is not None:
            network.close()

    @pytest.fixture
    def world(
        self, request: pytest.FixtureRequest, store_url: str, driver: Driver, network: Network | None
    ) -> Iterator[World]:
        """What the rule may act in."""
        rule = catalogue(type(self))[request.function.__name__]
        monitor = ControlMonitor(driver)
        request.node.stash[OPENING] = True
        try:
            opened = World(store_url, rule, driver=monitor.driver, memo=self.memo, network=network)
        except Unavailable as exc:
            why = self.left_down.get(store_url)
            if why is not None:
                raise RuleInconclusive(
                    f"rule {rule.id} could not be judged: {why}\n  promise:  {rule.promise}"
                ) from exc
            raise
        with opened as world:
            if world.why_not is not None:
                request.node.stash[WHY_NOT] = world.why_not
                pytest.skip(world.why_not)
            yield world
        recovery = Recovery(store_url, monitor, TIMEOUT)
        recovery.after(rule.id, world.empty)
        if recovery.down is not None:
            self.left_down[store_url] = recovery.down
