"""The catalogue of errors, from the docstrings of ``tenure.errors``: cause, what is certain, what to do."""

from __future__ import annotations

import inspect
import re

import tenure
from tenure import errors

SECTIONS = ("Cause", "Certain", "What to do")
_START = re.compile(rf"^({'|'.join(SECTIONS)}): ")
_ROLE = re.compile(r":(?:class|data|func|meth):`~?([^`]+)`")

ORIGINS = {
    errors.ErrorOrigin.CALLER: "the program",
    errors.ErrorOrigin.CONFIGURATION: "the operator's settings",
    errors.ErrorOrigin.CONTENTION: "another client",
    errors.ErrorOrigin.STORE: "the store",
    errors.ErrorOrigin.NETWORK: "the network",
    errors.ErrorOrigin.PLUGIN: "a plugin",
}
RETRIES = {
    errors.RetryAdvice.SAFE: "yes",
    errors.RetryAdvice.READ_FIRST: "after reading the keys",
    errors.RetryAdvice.USELESS: "no",
}


def classes() -> list[type[tenure.TenureError]]:
    """Return every error class, in the order of the module."""
    return [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, tenure.TenureError)
    ]


def explained(error: type[tenure.TenureError]) -> dict[str, str]:
    """Return what the docstring says: the summary under ``""``, and the text of each section under its title.

    Raises:
        ValueError: the docstring lacks a section.
    """
    found = {"": ""}
    title = ""
    for line in inspect.cleandoc(error.__doc__ or "").splitlines():
        if start := _START.match(line):
            title = start[1]
            found[title] = line[start.end() :]
        elif not line.strip():
            title = "-"  # what follows belongs to none of the sections
        elif title == "" and not found[""]:
            found[""] = line
        elif title in SECTIONS:
            found[title] += " " + line.strip()
    missing = [section for section in SECTIONS if not found.get(section)]
    if missing or not found[""]:
        raise ValueError(f"the docstring of {error.__name__} has no {', '.join(missing) or 'summary'}")
    return {key: _markdown(text) for key, text in found.items() if key != "-"}


def _markdown(text: str) -> str:
    return _ROLE.sub(lambda role: f"`{role[1]}`", text).replace("``", "`")


def catalogue() -> str:
    """Return Markdown: a table to find an error in, then a section for each."""
    rows = ["| error | who must act | safe to repeat |", "|---|---|---|"]
    for error in classes():
        name = error.__name__
        rows.append(f"| [`{name}`](#{name.lower()}) | {ORIGINS[error.origin]} | {RETRIES[error.retry]} |")
    parts = ["\n".join(rows)]
    for error in classes():
        text = explained(error)
        base = error.__mro__[1]
        kind = f" It is also a `{base.__name__}`." if base not in (Exception, tenure.TenureError) else ""
        parts.append(
            f"## {error.__name__}\n\n{text['']}{kind}\n\n"
            f"- **Cause**: {text['Cause']}\n- **Certain**: {text['Certain']}\n- **What to do**: {text['What to do']}\n"
            f"- `origin` is `{error.origin.value}`, `retry` is `{error.retry.value}`."
        )
    return "\n\n".join(parts)
