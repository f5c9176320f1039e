"""The config URL: ``scheme[+variant]://[user[:password]@]host[:port][,host...][/namespace][?option=value]``.

Strict: an unknown option, a bad value, an impossible port are errors that name the choices. What a URL shows
in messages has its secrets replaced by ``***``. Special characters in any part are percent-encoded.

A password can end up anywhere in a URL that was put together wrongly (a ``/`` in it that wasn't encoded, a forgotten
host). Messages therefore never repeat what follows a colon in the host list, what follows an option's name
unless it is the value of a known and public option, or anything but the beginning of what isn't a URL at all.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tenure._runtime.clock import Clock
from tenure.errors import ConfigError
from tenure.spi.plugin import BackendPlugin, Host, OpenRequest, Option, Secret, Tls, UrlForm

TLS = "tls"

CORE_OPTIONS = (
    Option("namespace", str, None, "keys live in a namespace of this name (also: the URL's path after the hosts)"),
    Option("timeout", float, None, "seconds that a call may take unless it says otherwise", minimum=0.001),
)
TLS_OPTIONS = (
    Option("ca", str, None, "PEM file with the authorities to trust; default: the system's"),
    Option("cert", str, None, "PEM file with the client's certificate"),
    Option("key", str, None, "PEM file with the client's private key"),
)

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class RawUrl:
    """A URL cut into its parts, nothing decoded yet."""

    scheme: str
    variants: frozenset[str]
    userinfo: str | None = field(repr=False)
    authority: str
    path: str
    query: str = field(repr=False)


def split(url: str) -> RawUrl:
    """Cut ``url`` into parts. Raises ``ConfigError`` for what isn't a URL at all."""
    if not isinstance(url, str):
        raise ConfigError(f"a store's URL is a str, not {type(url).__name__}")
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9.-]*)((?:\+[A-Za-z0-9-]+)*)://([^/?]*)([^?]*)(?:\?(.*))?", url, re.DOTALL)
    if match is None:
        raise ConfigError(
            f"{hide_secrets(url)!r} is not a store's URL: it begins with a scheme and '://', "
            "as in 'scheme://host:port/namespace'"
        )
    scheme, variants, authority, path, query = match.groups()
    userinfo, at, rest = authority.rpartition("@")
    if "@" in path or "@" in (query or ""):
        raise ConfigError(
            "the URL has an '@' after a '/' or a '?': a user name or password with special characters has to be "
            "percent-encoded ('/' is %2F, '?' is %3F, '@' is %40, ':' is %3A), and so has an '@' in a path or an "
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
    """The URL of these parts, secrets included: the reverse of :func:`split`."""
    scheme = "+".join([raw.scheme, *sorted(raw.variants)])
    user = "" if raw.userinfo is None else f"{raw.userinfo}@"
    return f"{scheme}://{user}{raw.authority}{raw.path}" + (f"?{raw.query}" if raw.query else "")


def hide_secrets(url: str) -> str:
    """The beginning of a ``url`` that couldn't be understood: anything later may be a password or token."""
    start, separator, _ = re.split("([:/@?]|$)", url, maxsplit=1)
    return ("***" if separator == "@" else start[:40]) + ("..." if separator else "")


def parse(url: str, plugin: BackendPlugin, *, timeout: float, clock: Clock) -> OpenRequest:
    """What the plugin's ``open`` gets, from a URL of its scheme. Raises ``ConfigError``."""
    raw = split(url)
    for variant in sorted(raw.variants - plugin.variants):
        choices = ", ".join(f"{plugin.scheme}+{v}" for v in sorted(plugin.variants)) or "none"
        raise ConfigError(f"{plugin.scheme}:// has no variant '+{variant}'; it has: {choices}")
    declared = {option.name: option for option in (*CORE_OPTIONS, *plugin.options)}
    if TLS in raw.variants:
        declared |= {option.name: option for option in TLS_OPTIONS}
    # In this order: a password with a bare '?' fails as a port, before its rest is taken for an option.
    username, password = _credentials(raw, plugin)
    hosts, path, namespace = _address(raw, plugin)
    values, secret_names = _options(raw, declared, plugin)
    core = {option.name: values.pop(option.name) for option in CORE_OPTIONS}
    tls = Tls(**{option.name: values.pop(option.name) for option in TLS_OPTIONS}) if TLS in raw.variants else None
    if namespace and core["namespace"]:
        raise ConfigError("the URL names a namespace twice, in its path and as an option: leave out one of them")
    if tls is not None and (tls.cert is None) != (tls.key is None):
        raise ConfigError("the options cert and key come together: a client certificate is useless without its key")
    return OpenRequest(
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
    )


def _options(raw: RawUrl, declared: dict[str, Option], plugin: BackendPlugin) -> tuple[dict[str, Any], set[str]]:
    values: dict[str, Any] = {name: option.default for name, option in declared.items()}
    given: set[str] = set()
    for part in filter(None, raw.query.split("&")):
        name, equals, text = part.partition("=")
        name, text = unquote(name), unquote(text)
        option = declared.get(name)
        if option is None:
            raise ConfigError(_unknown_option(name, raw, declared, plugin))
        if not equals:
            raise ConfigError(f"the option {name!r} has no value: write {name}=value ({option.help})")
        if name in given:
            raise ConfigError(f"the option {name!r} is given twice")
        given.add(name)
        values[name] = _convert(option, text)
    return values, {name for name in given if declared[name].secret}


def _unknown_option(name: str, raw: RawUrl, declared: dict[str, Option], plugin: BackendPlugin) -> str:
    if name in {option.name for option in TLS_OPTIONS} and TLS in plugin.variants:
        return f"the option {name!r} needs TLS: write {plugin.scheme}+{TLS}://..."
    close = difflib.get_close_matches(name, declared, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    shown = re.match(r"[\w.-]*", name)[0]  # type: ignore[index]  # matches always
    cut = "" if shown == name else "..."
    return f"{raw.scheme}:// has no option {shown + cut!r}{hint} It has: {', '.join(sorted(declared))}"


def _convert(option: Option, text: str) -> str | int | float | bool | Secret:
    if option.secret:
        return Secret(text)
    if option.type is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ConfigError(f"the option {option.name!r} is yes or no (also true/false, on/off, 1/0), not {text!r}")
        return text.lower() in _TRUE
    if option.type is str:
        if option.choices and text not in option.choices:
            raise ConfigError(f"the option {option.name!r} is one of {', '.join(option.choices)}, not {text!r}")
        return text
    try:
        number = int(text) if option.type is int else float(text)
    except ValueError:
        kind = "a whole number" if option.type is int else "a number"
        raise ConfigError(f"the option {option.name!r} is {kind} ({option.help}), not {text!r}") from None
    low, high = option.minimum, option.maximum
    if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        bounds = " and ".join(
            f"{words} {bound:g}" for words, bound in (("at least", low), ("at most", high)) if bound is not None
        )
        raise ConfigError(f"the option {option.name!r} is {bounds or 'a number'} ({option.help}), not {text}")
    return number


def _credentials(raw: RawUrl, plugin: BackendPlugin) -> tuple[str | None, Secret | None]:
    if raw.userinfo is None:
        return None, None
    if not plugin.accepts_credentials:
        raise ConfigError(f"{plugin.scheme}:// takes no user name or password: leave out everything up to the '@'")
    user, colon, password = raw.userinfo.partition(":")
    if not colon and ":" in unquote(user):
        raise ConfigError("a plain ':' stands between user name and password, in this URL it is percent-encoded (%3A)")
    return unquote(user) or None, Secret(unquote(password)) if colon else None


def _address(raw: RawUrl, plugin: BackendPlugin) -> tuple[tuple[Host, ...], str, str]:
    """Hosts, path and namespace, whichever the plugin's kind of address has."""
    if plugin.url_form is UrlForm.FILE:
        if raw.authority:
            raise ConfigError(
                f"{plugin.scheme}:// names a file and takes no host: write three slashes for an absolute path, as in "
                f"{plugin.scheme}:///var/lib/app/file.db (this URL has {raw.authority.partition(':')[0]!r} after two)"
            )
        return (), "" if raw.path in ("", "/") else unquote(raw.path), ""
    namespace = unquote(raw.path[1:])
    if plugin.url_form is UrlForm.NAME:
        return (), unquote(raw.authority), namespace
    hosts = tuple(_host(text, number, plugin) for number, text in enumerate(raw.authority.split(","), start=1))
    return hosts, "", namespace


def _host(text: str, number: int, plugin: BackendPlugin) -> Host:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\[\]:]*))(?::(.*))?", text, re.DOTALL)
    if match is None or (not match[1] and text.count(":") > 1):
        raise ConfigError(f"cannot understand host number {number} of the URL: write name:port, or [IPv6 address]:port")
    name = match[1] or unquote(match[2] or "")
    if not name:
        raise ConfigError(f"host number {number} of the URL is empty: write {plugin.scheme}://host:port")
    if match[3] is None:
        if plugin.default_port is None:
            raise ConfigError(f"the host {text!r} needs a port: write {name}:port")
        return Host(name, plugin.default_port)
    if not re.fullmatch(r"[0-9]{1,5}", match[3]) or not 0 < int(match[3]) < 65536:
        raise ConfigError(
            f"the port of {name!r} has to be a number from 1 to 65535, what stands after its colon isn't (not shown: "
            "it may be a password whose '@host' is missing)"
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
