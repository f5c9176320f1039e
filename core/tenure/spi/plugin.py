"""How a plugin presents itself: its scheme, its options and the function that opens a store.

A plugin is a module named by an entry point in the group ``tenure.backends``; the entry's name is the URL
scheme. The module has one hook implementation that returns a :class:`BackendPlugin`. It imports no client
library at module level: ``open`` does that when it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tenure._runtime.clock import Clock
from tenure.spi.backend import Backend


class UrlForm(StrEnum):
    """What stands between ``scheme://`` and the options of a URL."""

    HOSTS = "hosts"
    """``host[:port][,host[:port]...][/namespace]``"""

    NAME = "name"
    """``name[/namespace]``: something inside this process"""

    FILE = "file"
    """``/path/to/file``; the namespace, if any, is the option ``namespace``"""


@dataclass(frozen=True, slots=True)
class Option:
    """One typed ``?name=value`` of a plugin's URLs.

    ``type`` is ``str``, ``int``, ``float`` (seconds, ratios) or ``bool`` (true/false, yes/no, on/off, 1/0).
    ``minimum`` and ``maximum`` bound numbers, ``choices`` lists the only values allowed. Core has options of its
    own on every URL (``namespace``, ``timeout``), and ``ca``, ``cert``, ``key`` for the variant ``tls``.
    """

    name: str
    type: type[str | int | float | bool]
    default: str | int | float | bool | None
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    """The value is a password or token: ``open`` gets a :class:`Secret`, and messages show ``***``."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """What people should know of a store that its capabilities and options don't say: what surprises, and what it
    asks of whoever runs it. ``tenure backends SCHEME`` shows it."""

    title: str
    """A few words, without a full stop."""
    text: str
    """A sentence or more; names and values between backquotes."""
    verified_by: tuple[str, ...] = ()
    """What shows that it is so: ids of rules of the conformance suite (``leases.left_alone_end_in_time``), and tests
    of the plugin's own as ``path/of/test_file.py::test_name``, seen from the top of its repository."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a URL, a name or a literal address (IPv6 without brackets), with its port."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or token: never shown by repr, str or in an error. ``reveal()`` gives it to a driver."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        """The secret in plain text, for the server alone."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS was asked for (``scheme+tls://``). Paths of PEM files; without ``ca`` the system's roots count."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """Everything a plugin's ``open`` gets to know. Values are parsed, typed and checked against its options."""

    url: str
    """The URL with any password replaced by ``***``: fit for messages."""
    variants: frozenset[str]
    """Words after the scheme's plus signs, ``tls`` excepted: ``scheme+word://``."""
    hosts: tuple[Host, ...] = ()
    """For ``UrlForm.HOSTS``; at least one."""
    path: str = ""
    """For ``UrlForm.NAME`` the name, for ``UrlForm.FILE`` the path (empty: the plugin's own default)."""
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    namespace: str = ""
    """For information, such as where to place things: keys arrive with their namespace already in front."""
    options: Mapping[str, Any]
    """Every declared option by name, defaults filled in."""
    timeout: float
    """Seconds that ``open`` may take."""
    clock: Clock
    """For a store that runs in this process; others live by their server's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendPlugin:
    """What the hook returns. ``open`` raises ``Unavailable``, ``AuthenticationFailed``, ``ConfigError`` and
    their like, or returns a backend that has talked to its store."""

    scheme: str
    summary: str
    """One line for people."""
    open: Callable[[OpenRequest], Backend]
    url_form: UrlForm
    default_port: int | None = None
    """For ``UrlForm.HOSTS``."""
    options: tuple[Option, ...] = ()
    variants: frozenset[str] = frozenset()
    """Words allowed after a plus sign, such as ``tls``."""
    accepts_credentials: bool = False
    """Whether ``user:password@`` means something to this store; elsewhere it is an error."""
    pip_extra: str | None = None
    """Name of the ``tenure`` extra that brings the client library, for the in-tree plugins."""
    caveats: tuple[Caveat, ...] = ()
    """What surprises, and what else people should know."""
    required_modules: tuple[str, ...] = ()
    """Modules that ``open`` imports from that client; their absence turns into a hint what to install."""
