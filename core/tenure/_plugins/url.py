"""The config URL: ``scheme[+variant]://[user[:password]@]host[:port][,host...][/namespace][?option=value]``.

Strict: an unknown option, a bad value or an impossible port is an error that names the choices. A URL in a message
has its secrets replaced by ``***``. Special characters in any part are percent-encoded.

In a malformed URL a password can be anywhere (a ``/`` in it that wasn't encoded, a forgotten host). Messages
therefore never repeat the following parts: text after a colon in the host list; text after an option's name,
except the value of a known and public option; anything but the beginning of a text that isn't a URL.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tenure._runtime.clock import Clock
from tenure._suggestions import meant
from tenure.errors import ConfigError
from tenure.spi.credentials import Credentials, Login, Secret
from tenure.spi.plugin import BackendPlugin, Host, OpenRequest, Option, Tls, UrlForm

TLS = "tls"
_ALSO_TLS = {"ssl", "https", "secure"}

CORE_OPTIONS = (
    Option("namespace", str, None, "the namespace of all keys (also: the URL's path after the hosts)"),
    Option("timeout", float, None, "default timeout per call, in seconds", minimum=0.001),
    Option("wait_for_store", float, None, "seconds to keep trying while the store can't be reached yet", minimum=0.0),
)
CREDENTIAL_OPTIONS = (
    Option("password_file", str, None, "file whose first line is the password, read again when it is refused"),
)
TLS_OPTIONS = (
    Option("ca", str, None, "PEM file with the authorities to trust (default: the system's)"),
    Option("cert", str, None, "PEM file with the client's certificate"),
    Option("key", str, None, "PEM file with the client's private key"),
)

_LONGEST_NAME, _LONGEST_PATH = 255, 4095
"""Bytes of a file's name and of its path, as Linux has them."""

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class RawUrl:
    """A URL split into its parts, before percent-decoding."""

    scheme: str
    variants: frozenset[str]
    userinfo: str | None = field(repr=False)
    authority: str
    path: str
    query: str = field(repr=False)


def split(url: str) -> RawUrl:
    """Split ``url`` into its parts. Raises ``ConfigError`` if the text isn't a URL."""
    if not isinstance(url, str):
        raise ConfigError(
            f"parsing the store's URL: the URL is a str, not {type(url).__name__}; give a text such as "
            "'scheme://host:port/namespace'"
        )
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9.-]*)((?:\+[A-Za-z0-9-]+)*)://([^/?]*)([^?]*)(?:\?(.*))?", url, re.DOTALL)
    if match is None:
        host = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]{0,60}):\d{1,5}", url)  # maybe a password
        example = f"scheme://{host[1]}:PORT" if host else "scheme://host:port/namespace"
        raise ConfigError(
            f"parsing the store's URL: {hide_secrets(url)!r} has no scheme with '://' at its beginning; write a URL "
            f"as in {example!r}"
        )
    scheme, variants, authority, path, query = match.groups()
    userinfo, at, rest = authority.rpartition("@")
    if "@" in path or "@" in (query or ""):
        raise ConfigError(
            "parsing the store's URL: the URL has an '@' after a '/' or a '?'; percent-encode special characters in "
            "the user name and password ('/' is %2F, '?' is %3F, '@' is %40, ':' is %3A), and an '@' in a path or an "
            "option (%40)"
        )
    return RawUrl(
        scheme.lower(),
        frozenset(v.lower() for v in variants.split("+") if v),
        userinfo if at else None,
        rest,
        path,
        query or "",
    )


def join(raw: RawUrl) -> str:
    """Return the URL of these parts, secrets included: the reverse of :func:`split`."""
    scheme = "+".join([raw.scheme, *sorted(raw.variants)])
    user = "" if raw.userinfo is None else f"{raw.userinfo}@"
    return f"{scheme}://{user}{raw.authority}{raw.path}" + (f"?{raw.query}" if raw.query else "")


def hide_secrets(url: str) -> str:
    """Return the beginning of a malformed ``url``: anything later may be a password or token."""
    start, separator, _ = re.split("([:/@?]|$)", url, maxsplit=1)
    return ("***" if separator == "@" else start[:40]) + ("..." if separator else "")


def _meant_variant(variant: str, plugin: BackendPlugin) -> str:
    if variant in _ALSO_TLS and TLS in plugin.variants:
        return f"; did you mean +{TLS}?"
    return meant(variant, plugin.variants, "+{}")


def parse(
    url: str,
    plugin: BackendPlugin,
    *,
    timeout: float,
    clock: Clock,
    credentials: Callable[[], tuple[str | None, str | None]] | None = None,
) -> OpenRequest:
    """Return the request that the plugin's ``open`` receives, from a URL of its scheme. Raises ``ConfigError``."""
    return parse_with_wait(url, plugin, timeout=timeout, clock=clock, credentials=credentials)[0]


def parse_with_wait(
    url: str,
    plugin: BackendPlugin,
    *,
    timeout: float,
    clock: Clock,
    credentials: Callable[[], tuple[str | None, str | None]] | None = None,
) -> tuple[OpenRequest, float | None]:
    """Do the same, and return the option ``wait_for_store`` too: it is core's, and plugins never see it."""
    raw = split(url)
    for variant in sorted(raw.variants - plugin.variants):
        choices = ", ".join(f"{plugin.scheme}+{v}" for v in sorted(plugin.variants)) or "none"
        raise ConfigError(
            f"parsing the URL's scheme: {plugin.scheme}:// has no variant '+{variant}'"
            f"{_meant_variant(variant, plugin) or ';'} use one of its variants: {choices}"
        )
    declared = {option.name: option for option in (*CORE_OPTIONS, *plugin.options)}
    if plugin.accepts_credentials:
        declared |= {option.name: option for option in CREDENTIAL_OPTIONS}
    if TLS in raw.variants:
        declared |= {option.name: option for option in TLS_OPTIONS}
    # In this order: a password with a bare '?' fails as a port, before the rest of the password is read as an option.
    username, password = _credentials(raw, plugin)
    hosts, path, namespace = _address(raw, plugin)
    values, secret_names = _options(raw, declared, plugin)
    password_file = values.pop("password_file", None)
    source = _login_source(username, password, password_file, credentials, plugin)
    core = {option.name: values.pop(option.name) for option in CORE_OPTIONS}
    tls = Tls(**{option.name: values.pop(option.name) for option in TLS_OPTIONS}) if TLS in raw.variants else None
    if namespace and core["namespace"]:
        raise ConfigError(
            "parsing the store's URL: the URL names a namespace twice, in its path and as an option; leave out one of "
            "them"
        )
    if tls is not None:
        _require_files(tls)
    if tls is not None and (tls.cert is None) != (tls.key is None):
        raise ConfigError(
            "parsing the URL's options: cert and key come together, and only one was given; give both or neither"
        )
    request = OpenRequest(
        url=_shown(raw, secret_names),
        variants=raw.variants - {TLS},
        hosts=hosts,
        path=path,
        username=username,
        password=password,
        tls=tls,
        namespace=namespace or core["namespace"] or "",
        options=values,
        timeout=core["timeout"] or timeout,
        clock=clock,
        credentials=source,
    )
    return request, core["wait_for_store"]


def _login_source(
    username: str | None,
    password: Secret | None,
    password_file: str | None,
    credentials: Callable[[], tuple[str | None, str | None]] | None,
    plugin: BackendPlugin,
) -> Credentials:
    if credentials is not None and not plugin.accepts_credentials:
        raise ConfigError(
            f"connecting with credentials: {plugin.scheme}:// takes no user name or password; leave credentials out"
        )
    given = [password is not None, password_file is not None, credentials is not None]
    if sum(given) > 1 or (username is not None and credentials is not None):
        raise ConfigError(
            "parsing the URL's credentials: the login is given more than once; give one of a password in the URL, the "
            "option password_file, and connect(credentials=...)"
        )
    if credentials is not None:
        provider = credentials

        def read() -> Login:
            user, text = provider()
            return Login(user, None if text is None else Secret(text))

        return Credentials(read)
    return Credentials.from_file(username, password_file) if password_file else Credentials.fixed(username, password)


def _options(raw: RawUrl, declared: dict[str, Option], plugin: BackendPlugin) -> tuple[dict[str, Any], set[str]]:
    values: dict[str, Any] = {name: option.default for name, option in declared.items()}
    given: set[str] = set()
    for part in filter(None, raw.query.split("&")):
        name, equals, text = part.partition("=")
        name, text = _decoded(name, "options"), _decoded(text, "options")
        option = declared.get(name)
        if option is None:
            raise ConfigError(_unknown_option(name, raw, declared, plugin))
        if not equals:
            raise ConfigError(
                f"parsing the URL's options: the option {name!r} has no value; write {name}=value ({option.help})"
            )
        if name in given:
            raise ConfigError(f"parsing the URL's options: the option {name!r} is given twice; leave out one of them")
        given.add(name)
        values[name] = _convert(option, text)
    return values, {name for name in given if declared[name].secret}


def _unknown_option(name: str, raw: RawUrl, declared: dict[str, Option], plugin: BackendPlugin) -> str:
    if name in {option.name for option in TLS_OPTIONS} and TLS in plugin.variants:
        return f"parsing the URL's options: the option {name!r} needs TLS; write {plugin.scheme}+{TLS}://..."
    hint = meant(name, declared) or ";"
    shown = re.match(r"[\w.-]*", name)[0]  # type: ignore[index]  # matches always
    cut = "" if shown == name else "..."
    return (
        f"parsing the URL's options: {raw.scheme}:// has no option {shown + cut!r}{hint} use one of its options: "
        f"{', '.join(sorted(declared))}"
    )


def _convert(option: Option, text: str) -> str | int | float | bool | Secret:
    def refused(rule: str) -> ConfigError:
        return ConfigError(
            f"parsing the URL's options: {option.name}={text!r}: the option {option.name!r} is {rule}; give such a "
            f"value ({option.help})"
        )

    if option.secret:
        return Secret(text)
    if option.type is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise refused("yes or no (also true/false, on/off, 1/0)")
        return text.lower() in _TRUE
    if option.type is str:
        if option.choices and text not in option.choices:
            raise refused(f"one of {', '.join(option.choices)}")
        return text
    try:
        number = int(text) if option.type is int else float(text)
    except ValueError:
        raise refused("a whole number" if option.type is int else "a number") from None
    low, high = option.minimum, option.maximum
    finite = abs(number) <= sys.float_info.max
    if not finite or (low is not None and number < low) or (high is not None and number > high):
        bounds = " and ".join(
            f"{words} {bound:g}" for words, bound in (("at least", low), ("at most", high)) if bound is not None
        )
        raise refused(bounds or "a finite number")
    return number


def _credentials(raw: RawUrl, plugin: BackendPlugin) -> tuple[str | None, Secret | None]:
    if raw.userinfo is None:
        return None, None
    if not plugin.accepts_credentials:
        raise ConfigError(
            f"parsing the URL's credentials: {plugin.scheme}:// takes no user name or password; leave out everything "
            "up to the '@'"
        )
    user, colon, password = raw.userinfo.partition(":")
    if not colon and ":" in unquote(user):
        raise ConfigError(
            "parsing the URL's credentials: the ':' between user name and password is percent-encoded (%3A); write a "
            "plain ':'"
        )
    text = Secret(_decoded(password, "credentials", nul=True)) if colon else None
    return _decoded(user, "credentials") or None, text


def _address(raw: RawUrl, plugin: BackendPlugin) -> tuple[tuple[Host, ...], str, str]:
    """Return hosts, path and namespace; those that the plugin's URL form lacks are empty."""
    if plugin.url_form is UrlForm.FILE:
        if raw.authority:
            raise ConfigError(
                f"parsing the URL's path: {plugin.scheme}:// names a file, and {raw.authority.partition(':')[0]!r} "
                "follows two slashes; write three slashes for an absolute path, as in "
                f"{plugin.scheme}:///var/lib/app/file.db"
            )
        return (), "" if raw.path in ("", "/") else _file(_decoded(raw.path, "path")), ""
    namespace = _decoded(raw.path[1:], "namespace", nul=True)  # its own check names the place of a NUL
    if plugin.url_form is UrlForm.NAME:
        return (), _decoded(raw.authority, "name"), namespace
    hosts = tuple(_host(text, number, plugin) for number, text in enumerate(raw.authority.split(","), start=1))
    return hosts, "", namespace


def _decoded(text: str, part: str, *, nul: bool = False) -> str:
    """Return a part of the URL without percent-encoding. The text isn't in the messages: it may be secret.

    Bytes that are no UTF-8 would all become the same character, so two names would be one.
    """
    try:
        found = unquote(text, errors="strict")
        found.encode()
    except UnicodeError:
        raise ConfigError(
            f"parsing the URL's {part}: the bytes are not UTF-8; percent-encode a text in UTF-8, such as %C3%A9 for 'é'"
        ) from None
    if "\0" in found and not nul:
        raise ConfigError(f"parsing the URL's {part}: there is a NUL character (%00) in it; remove it")
    return found


def _require_files(tls: Tls) -> None:
    """Refuse pipes and devices: TLS libraries would wait for their end. What isn't there is the plugin's to tell."""
    for option in TLS_OPTIONS:
        path = getattr(tls, option.name)
        try:
            kind = 0 if path is None else os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or stat.S_ISSOCK(kind):
            raise ConfigError(
                f"parsing the URL's options: {option.name}={path!r} is a pipe, a device or a socket; name a file"
            )


def _file(path: str) -> str:
    """Return a path that a file can have. The system's own error would be the plugin's to translate."""
    longest = max((len(name.encode()) for name in path.split("/")), default=0)
    if longest > _LONGEST_NAME or len(path.encode()) > _LONGEST_PATH:
        raise ConfigError(
            f"parsing the URL's path: a name in it has {longest} bytes and the path {len(path.encode())}, and files "
            f"have at most {_LONGEST_NAME} and {_LONGEST_PATH}; choose a shorter one"
        )
    return path


def _host(text: str, number: int, plugin: BackendPlugin) -> Host:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\[\]:]*))(?::(.*))?", text, re.DOTALL)
    if match is None or (not match[1] and text.count(":") > 1):
        raise ConfigError(
            f"parsing the URL's hosts: cannot understand host number {number}; write name:port, or [IPv6 address]:port"
        )
    name = match[1] or _decoded(match[2] or "", "hosts")
    if not name:
        raise ConfigError(f"parsing the URL's hosts: host number {number} is empty; write {plugin.scheme}://host:port")
    if match[3] is None:
        if plugin.default_port is None:
            raise ConfigError(f"parsing the URL's hosts: the host {text!r} needs a port; write {name}:port")
        return Host(name, plugin.default_port)
    if not re.fullmatch(r"[0-9]{1,5}", match[3]) or not 0 < int(match[3]) < 65536:
        raise ConfigError(
            f"parsing the URL's hosts: the port of {name!r} is not a number from 1 to 65535 (not shown, since a "
            f"password without '@host' may be there); write {name}:port"
        )
    return Host(name, int(match[3]))


def _shown(raw: RawUrl, secrets: set[str]) -> str:
    user = raw.userinfo
    if user is not None:
        name, colon, _ = user.partition(":")
        user = f"{name}{':***' if colon else ''}"
    parts = [
        f"{p.partition('=')[0]}=***" if unquote(p.partition("=")[0]) in secrets else p for p in raw.query.split("&")
    ]
    return join(dataclasses.replace(raw, userinfo=user, query="&".join(parts)))
