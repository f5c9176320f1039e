"""The suite as one class, for a store's own tests to subclass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from tenure._client.opening import check_shared
from tenure.conformance.catalogue import FaceRules
from tenure.conformance.controls.controls import ServerControls
from tenure.conformance.harness.assertions import Checks, inconclusive
from tenure.conformance.harness.context import TIMEOUT, RuleContext, SharedRun
from tenure.conformance.harness.face import FACES
from tenure.conformance.harness.rule import SYNC, Rule, catalogue
from tenure.conformance.network import Network
from tenure.conformance.pytest.stash import OPENING, SKIP_REASON
from tenure.conformance.runner.control_monitor import ControlMonitor
from tenure.conformance.runner.first_look import silence_of
from tenure.conformance.runner.recovery import Recovery
from tenure.errors import Unavailable


class StoreConformance(FaceRules):
    """Every rule that a store has to keep, as tests. Subclass it in a test file of your own.

    ::

        from tenure.conformance import StoreConformance

        class TestMyStore(StoreConformance):
            url = "mystore://127.0.0.1:7000"

    Then run ``pytest``. The suite opens the URL through your plugin's entry point, as an application does. The URL
    has to name a store that several connections of one process share. The suite works in namespaces with random
    names, never touches other data, and removes what it wrote. The store may hold keys of yours.

    If the URL is known only when the tests run, leave out ``url`` and write a fixture::

        class TestMyStore(StoreConformance):
            @pytest.fixture
            def store_url(self, my_server):
                return my_server.url

    **Optional guarantees.** The suite checks what your backend declares in its capabilities. It skips a rule about a
    guarantee that the backend doesn't declare as *not supported*; other rules check that the store then raises
    ``Unsupported``. All other rules hold for every store. Time limits follow from the limits that you declare.

    **Outages.** The suite injects faults of the network without your help: if the URL names hosts, it runs a proxy
    between client and server. Rules about a server that is killed or frozen need controls over it. Give those that
    you have in a ``store_controls`` fixture; the suite skips the rules that need others as *not checked*::

            @pytest.fixture
            def store_controls(self, my_server):
                return ServerControls(kill=my_server.kill, start=my_server.start)

    ``tenure.conformance.controls.ready_made`` has controls for a container, a process and shell commands.

    **Reading a failure.** The message names the rule and its guarantee, what the rule did, what it expected and what
    it saw. A rule that shows nothing, because too little happened, fails as ``RuleInconclusive``.

    **Choosing.** ``pytest -k leases`` runs an area, ``-k test_kv_missing`` some rules. The last lines of the run count
    the rules and name those that did not run. A store is conformant only if every rule ran, or was not supported; a
    rule that something other than the suite skips is inconclusive. ``pytest --tenure-report FILE`` writes the same
    report as the command ``tenure conformance`` (not with pytest-xdist). A subclass can't override or drop a rule; it
    may add tests of its own.

    **Interfaces.** Rules use the synchronous interface. With ``--tenure-face aio`` they use ``tenure.aio``; the suite
    skips rules about the other interface as *not applicable*.

    For a check without a test file: ``pytest --pyargs tenure.conformance.pytest.quick --tenure-url URL``.
    """

    url: ClassVar[str | None] = None
    """URL of the store under test; ``None`` takes it from ``store_url`` or ``--tenure-url``."""
    memo: ClassVar[dict[str, SharedRun]] = {}
    """Runs that several rules inspect; every subclass has its own."""
    left_down: ClassVar[dict[str, str]] = {}
    """Why a store can't be opened any more, by its URL, if the controls are to blame."""
    silence: ClassVar[dict[str, str | None]] = {}
    """By the URL of a store, why it answers no call though it can be opened; ``None`` if it answers."""
    _tenure_catalogue: ClassVar[dict[str, Rule]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.memo, cls.left_down, cls.silence = {}, {}, {}
        cls._tenure_catalogue = catalogue(cls)
        if "context" in vars(cls):
            raise TypeError(
                f"{cls.__qualname__} replaces the fixture 'context', which the rules use; override 'store_url' instead"
            )

    @pytest.fixture
    def store_url(self, request: pytest.FixtureRequest) -> str:
        """Return the URL of the store under test. Override it if the URL is known only when the tests run.

        Args:
            request: pytest's own fixture.

        Returns:
            The URL, as for ``tenure.connect``.

        Raises:
            pytest.UsageError: there is neither ``url`` nor ``--tenure-url``.
        """
        url = self.url or request.config.getoption("tenure_url", default=None)
        if url is None:
            raise pytest.UsageError(
                f"{type(self).__name__} names no store to test: set its attribute 'url', override its fixture "
                "'store_url', or run pytest with --tenure-url URL"
            )
        return str(url)

    @pytest.fixture
    def store_controls(self) -> ServerControls:
        """Return the controls over the server: none, unless a subclass overrides it.

        Returns:
            The controls. The suite skips rules that need a missing one, as *not checked*.
        """
        return ServerControls()

    @pytest.fixture
    def network(self, store_url: str) -> Iterator[Network | None]:
        """Give the proxy for the rules about connections; ``None`` if the URL names no host and port.

        Override it to give ``None`` if the server sends its clients to addresses of its own. The suite then reports
        those rules as not supported.

        Args:
            store_url: the fixture of this class.

        Returns:
            The proxy, which is closed after the rule.
        """
        network = Network.in_front_of(store_url)
        yield network
        if network is not None:
            network.close()

    @pytest.fixture
    def context(
        self, request: pytest.FixtureRequest, store_url: str, store_controls: ServerControls, network: Network | None
    ) -> Iterator[RuleContext]:
        """Give the stores and controls that a rule may use. A subclass can't override it.

        Args:
            request: pytest's own fixture.
            store_url: the fixture of this class.
            store_controls: the fixture of this class.
            network: the fixture of this class.

        Returns:
            What the rule uses. It is closed after the rule.

        Raises:
            RuleViolated: the store can be opened, and answers no call; raised for the first rule.
            RuleInconclusive: the same for the rules after it, or the controls left the server down in an earlier rule.
            ConfigError: each opener of the URL gets a store of its own.
        """
        check_shared(store_url)
        rule = catalogue(type(self))[request.function.__name__]
        monitor = ControlMonitor(store_controls)
        request.node.stash[OPENING] = True
        self._require_answers(rule, store_url)
        try:
            face = FACES[request.config.getoption("tenure_face", default=SYNC)]
            opened = RuleContext(store_url, rule, controls=monitor.controls, memo=self.memo, network=network, face=face)
        except Unavailable as exc:
            why = self.left_down.get(store_url)
            if why is not None:
                raise inconclusive(rule, why) from exc
            raise
        with opened as context:
            if context.skip_reason is not None:
                request.node.stash[SKIP_REASON] = context.skip_reason
                pytest.skip(context.skip_reason)
            yield context
        recovery = Recovery(store_url, monitor, TIMEOUT)
        recovery.after(rule.id, context.empty)
        if recovery.down is not None:
            self.left_down[store_url] = recovery.down

    def _require_answers(self, rule: Rule, url: str) -> None:
        """Try a few calls before the first rule: on a store without answers, each rule would wait for its timeouts."""
        if url not in self.silence:
            self.silence[url] = why = silence_of(url, TIMEOUT)
            if why is not None:
                raise Checks(rule).fail(
                    "put, get and delete a key before the first rule", expected="answers within the timeout", seen=why
                )
        elif self.silence[url] is not None:
            raise inconclusive(rule, str(self.silence[url]))
