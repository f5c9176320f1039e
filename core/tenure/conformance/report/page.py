"""The report as a page: one file that loads nothing and is readable without JavaScript, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenure.conformance.harness.verdicts import Conclusion, Verdict
from tenure.conformance.report import page_charts as charts
from tenure.conformance.report import page_rules as rules
from tenure.conformance.report.markup import BANNERS, SIGNS, amount, badge, duration, table, tag, text, whole_page
from tenure.spi import Guarantee, Limit, field_notes

Report = Mapping[str, Any]


def page(report: Report) -> str:
    """Return the page for a report that fits the schema."""
    sections = [
        ("failures", "Problems", rules.failures(report["rules"])),
        ("rules", "Rules", rules.matrix(report["rules"])),
        ("capabilities", "What the store declares", _capabilities(report)),
        ("faults", "Faults", _timelines(report)),
        ("latency", "Latency", _latencies(report)),
        ("details", "Every rule", rules.details(report["rules"])),
        ("run", "The run", _run(report)),
        ("verify", "Verify this report", _verify(report)),
    ]
    shown = [(name, title, content) for name, title, content in sections if content]
    links = "".join(tag("a", text(title), href=f"#{name}") for name, title, _ in shown)
    body = "".join(tag("section", f"<h2>{text(title)}</h2>{content}", id=name) for name, title, content in shown)
    product = _product(report)
    return whole_page(
        f"{BANNERS[Conclusion(report['conclusion'])][1]}: {product}",
        f"{_banner(report, product)}{tag('nav', links, aria_label='Sections')}<main>{body}</main>",
    )


def _product(report: Report) -> str:
    store = report["store"]
    return f"{store['product']} {store['version']}".strip() or str(store["scheme"])


def _banner(report: Report, product: str) -> str:
    mark, word, meaning = BANNERS[Conclusion(report["conclusion"])]
    numbers = report["numbers"]
    bar = "".join(
        tag(
            "span",
            "",
            class_=verdict.value,
            style=f"flex-grow:{numbers[verdict.value]}",
            title=_count(numbers, verdict),
        )
        for verdict in Verdict
        if numbers[verdict.value]
    )
    legend = "".join(
        tag("li", f"{badge(verdict.value)} <b>{numbers[verdict.value]}</b>")
        for verdict in Verdict
        if numbers[verdict.value] or verdict in (Verdict.PASS, Verdict.FAIL)
    )
    tried = (
        f"{numbers['executed']} executed of {numbers['selected']} selected, in a catalogue of {numbers['catalogue']}"
    )
    return (
        f'<header class="{text(report["conclusion"])}"><div class="wide">'
        f'<p class="kicker">Tenure conformance · suite {text(report["suite"]["version"])}</p>'
        f'<div class="verdict"><span class="emblem" aria-hidden="true">{mark}</span>'
        f'<div><h1>{text(word)}</h1><p class="product">{text(product)} <code>{text(report["store"]["url"])}</code></p>'
        f"<p>{text(meaning)}</p></div></div>"
        f'<div class="bar" aria-hidden="true">{bar}</div><ul class="legend">{legend}</ul>'
        f'<p class="quiet">{text(tried)} · {text(report["run"]["profile"])} profile · '
        f"{duration(report['run']['seconds'])} · {text(report['run']['began'].replace('T', ' '))}</p>"
        "</div></header>"
    )


def _count(numbers: Mapping[str, int], verdict: Verdict) -> str:
    return f"{SIGNS[verdict][1]}: {numbers[verdict.value]}"


def _capabilities(report: Report) -> str:
    notes = field_notes()
    guarantees, limits = [], []
    for name, value in report["capabilities"].items():
        note = notes.get(name)
        if isinstance(value, bool):
            evidence = [rule for rule in report["rules"] if name in rule["required_capabilities"]]
            said = tag("span", "declared" if value else "not declared", class_=f"flag {'yes' if value else 'no'}")
            what = f"The store {note.text}." if isinstance(note, Guarantee) else ""
            guarantees.append([f"<code>{text(name)}</code>", said, text(what), rules.tiles(evidence) or "—"])
        else:
            unit, what = (note.unit, note.text) if isinstance(note, Limit) else ("", "")
            limits.append([f"<code>{text(name)}</code>", f"{amount(value)} {text(unit)}", text(what)])
    return (
        "<p>Declared when the store was opened, before the first rule ran. The rules beside a declared "
        "guarantee try it; a store has to refuse the operations of one that it doesn't declare.</p>"
        + table(["Guarantee", "", "What it means", "Evidence"], guarantees, class_="guarantees")
        + tag("details", "<summary>Limits</summary>" + table(["Limit", "", "What it bounds"], limits))
    )


def _timelines(report: Report) -> str:
    faulty = [rule for rule in report["rules"] if rule["windows"]]
    if not faulty:
        return ""
    drawn = "".join(
        tag(
            "details",
            f"<summary>{badge(rule['verdict'])} <code>{text(rule['id'])}</code> <span class=quiet>"
            f"{text(charts.effects(rule['windows']))}</span></summary><p>{text(rule['guarantee'])}</p>{charts.timeline(rule)}",
            class_="timeline",
            open="" if number == 0 else None,
        )
        for number, rule in enumerate(sorted(faulty, key=_interest))
    )
    return (
        f"<p>Each line is an operation from its call to its answer, in the band of its kind.</p>{charts.key()}{drawn}"
    )


def _interest(rule: Mapping[str, Any]) -> tuple[bool, int]:
    return (rule["verdict"] == Verdict.PASS, -len(rule["operations"]) - 5 * len(rule["batches"]))


def _latencies(report: Report) -> str:
    drawn = "".join(charts.latency(name, figures) for name, figures in report["latencies"].items())
    if not drawn:
        return ""
    return (
        "<p>Of all calls that returned, in the rules without faults; on a logarithmic scale. Measured by clients that "
        "make many calls at a time, so this is no benchmark.</p>" + tag("div", drawn, class_="plots")
    )


def _run(report: Report) -> str:
    environment, run, controls = report["environment"], report["run"], report["controls"]
    plugin = environment["plugin"]
    given = [*controls["offered"], *(["network"] if controls["network"] else [])]
    facts = [
        (
            "Plugin",
            f"{plugin['distribution']} {plugin['version']} ({plugin['module']})" if plugin else "no distribution",
        ),
        ("Controls", ", ".join(given) or "none: rules that inject faults into the server were not tried"),
        ("Interface", {"sync": "synchronous", "aio": "asyncio"}[run["face"]]),
        ("Seed", run["seed"]),
        ("Budget", f"{run['budget']:g} s" if run["budget"] else "none"),
        ("Budget of a rule", f"{run['rule_budget']:g} s"),
        ("Selected", ", ".join([*run["areas"], *run["rules"]]) or "everything"),
        ("Python", f"{environment['implementation']} {environment['python']}, hypothesis {environment['hypothesis']}"),
        ("Machine", f"{environment['platform']}, {environment['cpus']} CPUs"),
        *((f"Server: {name}", value) for name, value in report["store"]["details"].items()),
        *(("Warning", warning) for warning in report["store"]["warnings"]),
        *(("Note", note) for note in report["notes"]),
    ]
    return table(["", ""], [[text(name), text(value)] for name, value in facts], class_="facts")


def _verify(report: Report) -> str:
    histories = sum(len(rule["histories"]) for rule in report["rules"])
    return (
        "<p>This page was drawn from a JSON report. Anyone with that file can verify it: its histories "
        f"({histories} of them) by the checkers, its conclusion by its verdicts, and its digest.</p>"
        "<pre>pip install 'tenure[cli,conformance]'\ntenure conformance verify report.json</pre>"
        "<p>The digest detects damage and edits by hand. It is no signature: the author of a forged report can compute "
        "a new one. Forging histories that pass the checkers is harder, but most rules record none. If in doubt, run "
        "the suite yourself.</p>"
        f"<p class=quiet>Digest <code>{text(report['digest'])}</code></p>"
    )
