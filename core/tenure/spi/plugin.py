"""How a plugin presents itself: its scheme, its options and the function that opens a store.

A plugin is a module named by an entry point in the group ``tenure.backends``; the entry's name is the URL
scheme. The module has one hook implementation that returns a :class:`BackendPlugin`. The module imports no client
library at its top: ``open`` does that when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tenure._runtime.clock import Clock
from tenure.spi.backend import Backend
from tenure.spi.credentials import Credentials, Secret
from tenure.spi.diagnosis import Right


class UrlForm(StrEnum):
    """Name what a URL has between ``scheme://`` and its options.

    Attributes:
        HOSTS: ``host[:port][,host[:port]...][/namespace]``.
        NAME: ``name[/namespace]``, for a store inside this process.
        FILE: ``/path/to/file``. The namespace, if any, is the option ``namespace``.
    """

    HOSTS = "hosts"
    NAME = "name"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Option:
    """One typed ``?name=value`` of a plugin's URLs. Core parses and checks the value before ``open`` is called.

    Core adds options of its own to every URL: ``namespace`` and ``timeout``, and ``ca``, ``cert`` and ``key`` for the
    variant ``tls``.

    Attributes:
        name: the option's name in the URL.
        type: ``str``, ``int``, ``float`` (seconds, ratios) or ``bool`` (true/false, yes/no, on/off, 1/0).
        default: the value if the URL does not give the option.
        help: one line for people: the meaning, with the unit.
        minimum: the smallest number allowed, ``None`` for no bound.
        maximum: the largest number allowed, ``None`` for no bound.
        choices: the only texts allowed; empty for any text.
        secret: whether the value is a password or token. ``open`` then gets a :class:`Secret`, and messages show
            ``***``.
    """

    name: str
    type: type[str | int | float | bool]
    default: str | int | float | bool | None
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Caveat:
    """A fact about a store that capabilities and options don't show: surprising behaviour, or a duty of the operator.

    ``tenure backends SCHEME`` prints the caveats of a store.

    Attributes:
        title: a few words, without a full stop.
        text: one sentence or more; names and values between backquotes.
        verified_by: the tests that verify the caveat. They are ids of rules of the conformance suite
            (``leases.left_alone_end_in_time``), and the plugin's own tests as ``path/of/test_file.py::test_name``. The
            path is relative to the top of the plugin's repository.
    """

    title: str
    text: str
    verified_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a URL with its port. ``str(host)`` is ``name:port``, or ``[address]:port`` for IPv6.

    Attributes:
        name: a host name or a literal address, IPv6 without brackets.
        port: the port, 1 to 65535.
    """

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS settings of a URL with the variant ``tls`` (``scheme+tls://``). All paths name PEM files.

    Attributes:
        ca: the authorities to trust; ``None`` for the system's.
        cert: the client's certificate, ``None`` for no client certificate.
        key: the client's private key. Either both ``cert`` and ``key`` are given or neither.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """Everything that a plugin's ``open`` receives. Core has parsed and typed the values, and checked each option.

    Attributes:
        url: the URL with secrets replaced by ``***``: safe in messages.
        variants: the words after the scheme's plus signs (``scheme+word://``), without ``tls``.
        hosts: the hosts for ``UrlForm.HOSTS``, at least one; otherwise empty.
        path: the name for ``UrlForm.NAME``, the path for ``UrlForm.FILE``; empty for the plugin's own default.
        username: the user name as the URL has it, ``None`` if it has none.
        password: the password as the URL has it, ``None`` if it has none.
        tls: the TLS settings, ``None`` for a plain connection.
        namespace: the namespace, for information such as where to place data. Keys arrive with it in front.
        options: every declared option by name, defaults filled in.
        timeout: seconds that ``open`` may take.
        clock: the clock for a store that runs in this process. Other stores use their server's time.
        credentials: the login for each new connection, wherever it comes from. ``None`` means that ``username`` and
            ``password`` are all there is; :meth:`login_source` covers both.
    """

    url: str
    variants: frozenset[str]
    hosts: tuple[Host, ...] = ()
    path: str = ""
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    namespace: str = ""
    options: Mapping[str, Any]
    timeout: float
    clock: Clock
    credentials: Credentials | None = None

    def login_source(self) -> Credentials:
        """Return where the login of new connections comes from.

        Returns:
            ``credentials``, or fixed ones made of ``username`` and ``password``.
        """
        return self.credentials or Credentials.fixed(self.username, self.password)


SPI_VERSION = 1
"""The version of the SPI that this Tenure has. A plugin names the one that it was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlugin:
    """The description of a plugin, which the hook ``tenure_backend`` returns.

    Attributes:
        scheme: the URL scheme, the same as the entry point's name.
        summary: one line for people.
        open: opens a store within ``request.timeout`` seconds and returns a :class:`Backend` that has verified that
            the server answers and accepts the credentials. Otherwise raises ``Unavailable``,
            ``AuthenticationFailed``, ``PermissionDenied``, ``ConfigError`` or another error of ``tenure.errors``.
        url_form: what the URL has between ``scheme://`` and its options.
        spi_version: the version of the SPI that the plugin was written for, 1 (:data:`SPI_VERSION`). Core refuses a
            plugin that names none or another one.
        default_port: the port of a host without one, for ``UrlForm.HOSTS``; ``None`` if the URL must give the port.
        options: the options of the plugin's URLs.
        variants: the words allowed after a plus sign, such as ``tls``.
        accepts_credentials: whether URLs may have ``user:password@``; otherwise core refuses them.
        pip_extra: the extra of ``tenure`` that installs the client library, for the plugins of this repository.
        caveats: what the capabilities and options don't show.
        required_modules: the modules of the client library that ``open`` imports. If one is missing, ``connect`` names
            what to install.
        private: returns whether each opener of a request's URL gets a store of its own, as for a store in memory that
            has no name. What needs several clients of one store, such as the conformance suite, refuses such a URL.
        rights: what each use of the store needs, for ``tenure doctor`` and the documentation.
    """

    scheme: str
    summary: str
    open: Callable[[OpenRequest], Backend]
    url_form: UrlForm
    spi_version: int = 0
    default_port: int | None = None
    options: tuple[Option, ...] = ()
    variants: frozenset[str] = frozenset()
    accepts_credentials: bool = False
    pip_extra: str | None = None
    caveats: tuple[Caveat, ...] = ()
    required_modules: tuple[str, ...] = ()
    private: Callable[[OpenRequest], bool] = lambda _request: False
    rights: tuple[Right, ...] = ()
