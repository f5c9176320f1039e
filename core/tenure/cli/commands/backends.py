"""``tenure backends``: the installed store plugins, their distributions, and whether they can be opened."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from tenure._failed import Failed
from tenure._plugins import discovery
from tenure._plugins.url import CORE_OPTIONS, TLS, TLS_OPTIONS
from tenure.cli.completion import schemes
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column, Output
from tenure.errors import PluginError
from tenure.spi.plugin import BackendPlugin, Option, UrlForm

_ADDRESSES = {
    UrlForm.HOSTS: "host:port[,host:port...]/namespace",
    UrlForm.NAME: "name/namespace",
    UrlForm.FILE: "/path/to/file",
}


@click.command(short_help="List the installed store plugins.")
@click.argument("scheme", required=False, shell_complete=schemes)
@common(url=False)
@settings
def backends(options: Settings, scheme: str | None) -> None:
    """List the installed store plugins, or show one SCHEME with its options and caveats.

    The guarantees of a store depend on its server: "tenure doctor URL" opens a store and shows them.
    """
    out = options.output
    records = [_describe(found) for found in sorted({claim.scheme for claim in discovery.claims()})]
    if scheme is None:
        out.listing(
            records,
            [
                Column("scheme", lambda r: r["url"], "bold"),
                Column("state", lambda r: r["state"] if not r["reason"] else f"{r['state']}: {r['reason']}"),
                Column("from", lambda r: ", ".join(f"{c['distribution']} {c['version']}" for c in r["claims"]), "dim"),
                Column("what it is", lambda r: r["summary"]),
            ],
            empty="no store plugin is installed",
        )
        return
    wanted = scheme.removesuffix("://")
    record = next((record for record in records if record["scheme"] == wanted), None)
    if record is None:
        known = ", ".join(record["scheme"] for record in records)
        raise Failed(f"no installed plugin serves {wanted}://; installed: {known or 'none'}")
    _show(out, record)


def _describe(scheme: str) -> dict[str, Any]:
    """Return the description of one plugin; a plugin that can't be used is described as such."""
    record: dict[str, Any] = {
        "scheme": scheme,
        "url": f"{scheme}://",
        "state": "ready",
        "reason": "",
        "summary": "",
        "claims": [
            {"distribution": claim.distribution, "version": claim.version, "module": claim.module}
            for claim in discovery.claims()
            if claim.scheme == scheme
        ],
        "options": [],
        "caveats": [],
    }
    try:
        plugin = discovery.find(scheme)
    except PluginError as exc:
        return record | {"state": "broken", "reason": str(exc)}
    if discovery.missing_modules(plugin):
        record |= {"state": "needs its client", "reason": discovery.install_hint(plugin)}
    variants = f"[+{'|'.join(sorted(plugin.variants))}]" if plugin.variants else ""
    user = "[user:password@]" if plugin.accepts_credentials else ""
    return record | {
        "summary": plugin.summary,
        "form": f"{scheme}{variants}://{user}{_ADDRESSES[plugin.url_form]}",
        "default_port": plugin.default_port,
        "options": [_option(option) for option in _options(plugin)],
        "caveats": [asdict(caveat) for caveat in plugin.caveats],
    }


def _options(plugin: BackendPlugin) -> tuple[Option, ...]:
    return (*plugin.options, *CORE_OPTIONS, *(TLS_OPTIONS if TLS in plugin.variants else ()))


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "type": option.type.__name__,
        "default": None if option.secret else option.default,
        "choices": list(option.choices),
        "minimum": option.minimum,
        "maximum": option.maximum,
        "help": option.help,
    }


def _show(out: Output, record: dict[str, Any]) -> None:
    if out.json:
        out.document(record)
        return
    facts = [("scheme", record["url"]), ("state", record["state"])]
    facts += [(name, record[name]) for name in ("reason", "summary", "form", "default_port") if record.get(name)]
    facts += [("from", f"{c['distribution']} {c['version']} ({c['module']})") for c in record["claims"]]
    out.pairs(facts)
    if record["options"]:
        out.heading("Options (?name=value)")
        out.listing(
            record["options"],
            [
                Column("option", lambda r: r["name"], "bold"),
                Column("type", lambda r: "|".join(r["choices"]) or r["type"]),
                Column("default", lambda r: "" if r["default"] is None else r["default"], right=True),
                Column("what it does", lambda r: r["help"]),
            ],
            empty="",
        )
    if record["caveats"]:
        out.heading("Caveats")
        out.listing(
            record["caveats"],
            [Column("caveat", lambda r: r["title"], "bold"), Column("details", lambda r: r["text"])],
            empty="",
        )
