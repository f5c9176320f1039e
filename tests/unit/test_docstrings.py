"""``help()`` is enough: each public name says what it guarantees, takes, returns and raises; each example runs."""

from __future__ import annotations

import dataclasses
import doctest
import enum
import importlib
import inspect
import re
from pathlib import Path

import pytest

import tenure
from tenure import aio, errors, hookspecs, plugin_kit, registry, spi, testing

CORE = Path(tenure.__file__).parent
PACKAGES = (tenure, spi, plugin_kit)
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, tenure.TenureError)]
HOOKS = [value for name, value in vars(hookspecs).items() if name.startswith("tenure_")]
NAMED = {name: getattr(package, name) for package in PACKAGES for name in package.__all__}
CLASSES = [value for value in dict.fromkeys([*NAMED.values(), *ERRORS]) if inspect.isclass(value) and value is not str]
ENUMS = [errors.ErrorOrigin, errors.RetryAdvice]

RAISES_NOTHING = {
    "RealTime.monotonic": "it reads a clock",
    "RealTime.perf_counter": "it reads a clock",
    "RealTime.time": "it reads a clock",
    "wall_clock": "it reads a clock",
    "interruption": "it looks at an exception",
    "examine_hosts": "what is wrong is a finding",
    "named_warnings": "it looks at texts",
    "start_thread": "raises what Thread.start raises",
    "Monitor.leave": "it does nothing if the lock isn't held",
    "Monitor.wait_for": "raises what the predicate raises",
    "Monitor.wait": "its caller holds the lock",
    "Monitor.notify": "its caller holds the lock",
    "Monitor.notify_all": "its caller holds the lock",
    **{
        f"FeedHub.{name}": "it calls sinks, which never raise"
        for name, value in vars(plugin_kit.FeedHub).items()
        if inspect.isfunction(value) and not name.startswith("_")
    },
    **{f"HubFeed.{name}": "it calls a sink, which never raises" for name in ("deliver", "offer", "bookmark")},
    **{f"Worker.{name}": "only a start can fail, and request logs that" for name in ("request", "stop", "join")},
    "untranslated": "returns the error",
    "tenure_backend": "the plugin writes it; core turns what it raises into PluginError",
    **{hook.__name__: "what an observer raises is logged" for hook in HOOKS if hook.__name__ != "tenure_backend"},
    "field_notes": "describes a class of this package",
    "monotonic": "reads the clock",
    "next_revision": "reads the clock and counts",
    "Credentials.fixed": "keeps what it is given",
    "Credentials.from_file": "the file is read later",
    "OpenRequest.login_source": "keeps what it is given",
    "Backend.close": "closing never fails: what can't be released is given up",
    "Feed.close": "closing never fails: what can't be released is given up",
    "Watch.close": "closing never fails",
    "Watch.__iter__": "raises what Watch.next raises",
    "Sink.deliver": "a plugin's reader thread calls it",
    "Sink.fail": "a plugin's reader thread calls it",
    "HeldLease.abandon": "makes no call to the store",
    "HeldLease.tells": "records a fact",
    "HeldLease.mark_failed": "records a fact",
    "HeldLease.mark_lost": "records a fact",
    "HeldLease.mark_refreshed": "records a fact",
    "HeldLease.mark_tried": "records a fact",
    "HeldLease.mark_revoked": "records a fact",
    "Codec.decode": "the application writes it, and raises what it likes",
    "Codec.encode": "the application writes it, and raises what it likes",
    "Capabilities.as_dict": "copies fields",
    "Capabilities.max_lifetime_after_refresh": "arithmetic",
    "Clock.now": "reads the clock",
    "Clock.wait": "returns early rather than fail",
    "Clock.wait_for_real": "returns early rather than fail",
    "Clock.pause": "arithmetic",
    "Clock.resting": "records a fact",
    "Deadline.progressed": "records a fact",
    "ProgressDeadline.progressed": "records a fact",
    "ProgressDeadline.of_request": "any pair of numbers makes a deadline",
    "Deadline.remaining": "returns a minimum once the time is up",
    "Deadline.within": "returns a minimum once the time is up",
    "Secret.reveal": "returns a field",
    "Connection.close": "the plugin writes it; the pool relies on its not raising",
    "Connection.interrupt": "the plugin writes it; the pool relies on its not raising",
    "ConnectionPool.close": "closing never fails",
    "ConnectionPool.drop_idle": "closing never fails",
    "Pooled.drop": "closing never fails",
    "Pooled.give_back": "returns a connection to the pool, or closes it",
    "Endpoints.in_order": "sorts hosts",
    "Endpoints.report_failure": "records a fact",
    "ErrorTable.find": "compares texts",
    "ErrorTable.refusal": "returns the error",
    "ErrorTable.unanswered": "returns the error",
    "ErrorTable.cannot_connect": "returns the error",
    "Row.matches": "compares texts",
    "shorten": "changes a text",
    "TlsContext.current": "returns the context before a renewal that can't be used",
    "TlsFiles.renewed": "treats a file that can't be read as one that is missing",
    "TransactionDraft.delete": "only collects; commit checks",
    "TransactionDraft.if_absent": "only collects; commit checks",
    "TransactionDraft.if_exists": "only collects; commit checks",
    "TransactionDraft.if_unchanged": "only collects; commit checks",
}
MADE_BY_CORE = {
    "Store": "tenure.connect",
    "Watch": "Store.watch",
    "Lease": "Store.lease",
    "HeldLease": "Store.lease",
    "Pooled": "ConnectionPool.take",
    "TransactionBuilder": "Store.transaction",
    "TransactionDraft": "Store.transaction",
    "TransactView": "transact",
}
NO_FIELDS_TO_EXPLAIN = {"Secret": "its one field is hidden on purpose"}


def sections(text):
    """The Google-style sections of a docstring: title -> the entries' names."""
    found = {}
    title = None
    for line in inspect.cleandoc(text).splitlines():
        if match := re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            title = found.setdefault(match[1], [])
        elif line and not line.startswith(" "):
            title = None
        elif title is not None and (match := re.match(r" {4}(\w+): \S", line)):
            title.append(match[1])
    return found


def functions():
    """Each public function and method, under its name, with its documented text."""
    for function in [*HOOKS, *(inspect.unwrap(value) for value in NAMED.values() if callable(value))]:
        if not inspect.isfunction(function):
            continue
        yield function.__name__, function, function.__doc__
    for owner in CLASSES:
        for name, member in vars(owner).items():
            plain = getattr(member, "__func__", member)
            if inspect.isfunction(plain) and (not name.startswith("_") or name == "__iter__"):
                if plain.__doc__ is None and inherited(owner, name):
                    continue
                if name == "__iter__" and plain.__doc__ is None:
                    continue  # the items of a sequence, which its class explains
                yield f"{owner.__name__}.{name}", plain, plain.__doc__


def inherited(owner, name):
    """Whether an override leaves its explanation to the class that it overrides."""
    return any(getattr(vars(base).get(name), "__doc__", None) for base in owner.__mro__[1:-1])


FUNCTIONS = [pytest.param(name, function, text, id=name) for name, function, text in functions()]


@pytest.mark.parametrize(("name", "function", "text"), FUNCTIONS)
def test_each_parameter_is_explained(name, function, text):
    assert text, "no docstring"
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter not in ("self", "cls")]
    assert sections(text).get("Args", []) == parameters


@pytest.mark.parametrize("package", [registry, aio, testing], ids=lambda package: package.__name__)
def test_each_parameter_of_the_other_packages_is_explained(package):
    found = {}
    for name in package.__all__:
        owner = getattr(package, name)
        members = vars(owner) if inspect.isclass(owner) else {name: owner}
        for each, member in members.items():
            plain = inspect.unwrap(getattr(member, "__func__", member)) if callable(member) else None
            if inspect.isfunction(plain) and not each.startswith("_"):
                if plain.__doc__ is None and inspect.isclass(owner) and inherited(owner, each):
                    continue
                found[f"{name}.{each}"] = plain
    assert len(found) > 15
    wrong = {
        name
        for name, plain in found.items()
        if sections(plain.__doc__ or "").get("Args", [])
        != [parameter for parameter in inspect.signature(plain).parameters if parameter not in ("self", "cls")]
    }
    assert not wrong


@pytest.mark.parametrize(("name", "function", "text"), FUNCTIONS)
def test_what_is_returned_is_explained(name, function, text):
    nothing = inspect.signature(function).return_annotation in ("None", None, inspect.Signature.empty)
    assert ("Returns" in sections(text)) is not nothing or name == "Watch.__iter__"


@pytest.mark.parametrize(("name", "function", "text"), FUNCTIONS)
def test_errors_are_named(name, function, text):
    raised = sections(text).get("Raises", [])
    assert bool(raised) is not (name in RAISES_NOTHING)
    unknown = [error for error in raised if not hasattr(errors, error) and error not in ("ValueError", "OSError")]
    assert not unknown


def test_the_exceptions_are_still_needed():
    assert not set(RAISES_NOTHING) - {parameter.values[0] for parameter in FUNCTIONS}


@pytest.mark.parametrize(("name", "function", "text"), FUNCTIONS)
def test_the_first_line_is_one_imperative_sentence(name, function, text):
    first = inspect.cleandoc(text).splitlines()[0]
    assert first.endswith(".")
    assert re.match(r"[A-Z][a-z]+\b", first)
    assert not re.match(r"(The|A|An|Whether|Like|Returns|Raises|Does|Makes|Sets|Gets|Reads)\b", first)


@pytest.mark.parametrize("owner", [*CLASSES, *ENUMS], ids=lambda owner: owner.__name__)
def test_each_field_is_explained(owner):
    explained = sections(owner.__doc__)
    if issubclass(owner, enum.Enum):
        wanted = list(owner.__members__)
    elif dataclasses.is_dataclass(owner):
        wanted = [field.name for field in dataclasses.fields(owner)]
    else:
        wanted = list(getattr(owner, "_fields", ()))
    if owner.__name__ in NO_FIELDS_TO_EXPLAIN:
        assert all(name.startswith("_") for name in wanted)
        return
    if wanted:
        assert explained.get("Attributes") == wanted


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_each_constructor_is_explained(owner):
    made = vars(owner).get("__init__")
    if made is None or dataclasses.is_dataclass(owner) or hasattr(owner, "_fields") or owner.__name__ in MADE_BY_CORE:
        return
    if getattr(owner, "_is_protocol", False):
        return
    parameters = [name for name in inspect.signature(made).parameters if name != "self"]
    assert sections(owner.__doc__).get("Args", []) == parameters


@pytest.mark.parametrize("owner", CLASSES, ids=lambda owner: owner.__name__)
def test_each_property_is_explained(owner):
    bare = [name for name, member in vars(owner).items() if isinstance(member, property) and not member.__doc__]
    assert not bare


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_error_says_its_cause_what_is_certain_and_what_to_do(error):
    lines = inspect.cleandoc(error.__doc__).splitlines()
    assert [line.partition(":")[0] for line in lines if re.match(r"(Cause|Certain|What to do): \S", line)] == [
        "Cause",
        "Certain",
        "What to do",
    ]


# -- examples ----------------------------------------------------------------------------------------------

EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)
WITH_EXAMPLES = [path for path in sorted(CORE.rglob("*.py")) if EXAMPLE.search(path.read_text())]


def module_name(path):
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_each_example_runs(path):
    module = importlib.import_module(module_name(path))
    tests = doctest.DocTestFinder(exclude_empty=True).find(module)
    examples = [example for test in tests for example in test.examples]
    assert len(examples) == len(EXAMPLE.findall(path.read_text())), "an example is where doctest doesn't look"
    assert not [example for example in examples if example.options.get(doctest.SKIP)]
    runner = doctest.DocTestRunner()
    report = []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


@pytest.mark.parametrize(
    "owner", [tenure.connect, tenure.Store, tenure.Watch, tenure.Lease, tenure.TransactionBuilder, tenure.Capabilities]
)
def test_what_people_use_first_has_an_example(owner):
    assert EXAMPLE.search(owner.__doc__)
