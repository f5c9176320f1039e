"""``help()`` is enough: each public name says what it guarantees, takes, returns and raises; each example runs."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import doctest
import enum
import importlib
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import tenure
from tenure import aio, conformance, errors, hookspecs, plugin_kit, registry, spi, testing

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
LOGGED = "if the store doesn't answer, a warning is logged"
FINDS = "compares texts"
RAISES_NOTHING_ELSEWHERE = {
    "tenure.aio.Registry.current": "returns a field",
    "tenure.aio.Registry.get_services": "returns a field",
    "tenure.aio.Watch.close": "closing never fails",
    "tenure.conformance.StoreConformance.network": "None says that there can be no proxy",
    "tenure.conformance.StoreConformance.store_controls": "makes an object",
    "tenure.registry.Instance.identity": "joins texts",
    "tenure.registry.Instance.to_dict": "copies fields",
    "tenure.registry.Registry.current": "returns a field",
    "tenure.registry.Registry.get_services": "returns a field",
    "tenure.registry.encode": "an instance was checked when it was made",
    "tenure.registry.key_of": "joins texts",
    "tenure.testing.Faults.clear": "changes the script",
    "tenure.testing.Faults.cut_watches": "each watch gets the error",
    "tenure.testing.Faults.hang": "calls within the block raise",
    "tenure.testing.Faults.next_write_unknown": "the write raises",
    "tenure.testing.Faults.outage": "calls within the block raise",
    "tenure.testing.Faults.watches_disconnected": "changes the script",
    "tenure.testing.LostAnswer.hold": "keeps what it is given",
    "tenure.testing.Sandbox.close": "closing never fails",
    "tenure_asgi.Lifespan.close": LOGGED,
    "tenure_asgi.Lifespan.drain": LOGGED,
    "tenure_asgi.Lifespan.leave": LOGGED,
    "tenure_asgi.Lifespan.not_ready": "what is wrong is returned",
    "tenure_asgi.Lifespan.register_soon": "only begins; not_ready says what fails",
    "tenure_asgi.Lifespan.time_for_shutdown": "arithmetic",
    "tenure_asgi.httpx.AsyncTenureTransport.aclose": "raises what the transport that it was given raises",
    "tenure_asgi.httpx.TenureTransport.close": "raises what the transport that it was given raises",
    "tenure_console.Console.close": "closing never fails",
    "tenure_grpc.TenureChannel.close": "closing never fails",
    "tenure_grpc.TenureChannel.unsubscribe": "does nothing",
    "tenure_grpc.aio.TenureChannel.close": "closing never fails",
    **{
        f"{module}.TenureChannel.{kind}": "only a call can fail"
        for module in ("tenure_grpc", "tenure_grpc.aio")
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
    },
    "tenure_telemetry.AllowList.lock": FINDS,
    "tenure_telemetry.AllowList.prefix": FINDS,
    "tenure_telemetry.AllowList.service": FINDS,
    "tenure_telemetry.PrometheusCollector.collect": "copies numbers",
    "tenure_telemetry.PrometheusCollector.describe": "returns nothing",
    "tenure_telemetry.PrometheusCollector.families": "copies numbers",
    "tenure_telemetry.PrometheusCollector.render": "copies numbers",
    "tenure_telemetry.measures.Measures.cache_ages": "reads clocks",
    "tenure_telemetry.measures.Sink.add": "the subclass writes it; only counts",
    "tenure_telemetry.measures.Sink.record": "the subclass writes it; only counts",
    "tenure_workers.Lifespan.close": LOGGED,
    "tenure_workers.Lifespan.drain": LOGGED,
    "tenure_workers.Lifespan.drain_soon": "only begins",
    "tenure_workers.Lifespan.not_ready": "what is wrong is returned",
    "tenure_workers.Lifespan.wait": "waits for an event",
    "tenure_workers.celery.follow_celery": "connects functions to signals",
    "tenure_workers.django.forget_lifespan": LOGGED,
    "tenure_workers.gunicorn.on_reload": "counts",
    "tenure_workers.gunicorn.worker_exit": LOGGED,
}
MADE_BY_CONTRIB = {"tenure_asgi.Setting": "Lifespan.setting"}
FOREIGN_ERRORS = {"ImproperlyConfigured", "httpx.TransportError", "pytest.UsageError"}
"""Errors of Django, httpx and pytest, which expect them."""
NO_FIELDS_TO_EXPLAIN = {"Secret": "its one field is hidden on purpose"}


def entries(text):
    """The Google-style sections of a docstring: title -> the entries' texts by their names."""
    found = {}
    title = name = None
    for line in inspect.cleandoc(text or "").splitlines():
        if match := re.fullmatch(r"(Args|Returns|Raises|Attributes):", line):
            title, name = found.setdefault(match[1], {}), None
        elif line and not line.startswith(" "):
            title = None
        elif title is not None and (match := re.match(r" {4}([\w.]+): (\S.*)", line)):
            name = match[1]
            title[name] = match[2]
        elif title is not None and name is not None:
            title[name] += f" {line.strip()}"
    return found


def sections(text):
    """The Google-style sections of a docstring: title -> the entries' names."""
    return {title: list(found) for title, found in entries(text).items()}


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


# -- the other packages ------------------------------------------------------------------------------------


class Explained(NamedTuple):
    """A public function or class, and what its docstring is compared with."""

    name: str
    text: str | None
    parameters: dict[str, str]
    """The annotations of its parameters or fields, by their names."""
    returns: bool | None
    """Whether it returns something; ``None`` for a class."""


def by_import(package, names):
    """The public functions and classes of a package that every test process has imported anyway."""
    for name in names:
        owner = getattr(package, name)
        members = vars(owner) if inspect.isclass(owner) else {name: owner}
        if inspect.isclass(owner):
            fields = {field: str(kind) for base in owner.__mro__ for field, kind in annotations(base).items()}
            yield Explained(name, owner.__doc__, {**fields, **annotations(vars(owner).get("__init__"))}, None)
        for each, member in members.items():
            plain = inspect.unwrap(getattr(member, "__func__", member)) if callable(member) else None
            if not inspect.isfunction(plain) or each.startswith("_"):
                continue
            if plain.__doc__ is None and inspect.isclass(owner) and inherited(owner, each):
                continue
            returned = inspect.signature(plain).return_annotation
            parameters = {one: annotations(plain).get(one, "") for one in inspect.signature(plain).parameters}
            full = f"{name}.{each}" if inspect.isclass(owner) else name
            yield Explained(full, plain.__doc__, parameters, returned not in ("None", None, inspect.Signature.empty))


def annotations(thing):
    return {name: str(kind) for name, kind in getattr(thing, "__annotations__", {}).items()}


CONTRIB = Path(__file__).parents[2] / "contrib"
CONTRIB_MODULES = [
    "tenure_asgi",
    "tenure_asgi.fastapi",
    "tenure_asgi.httpx",
    "tenure_console",
    "tenure_grpc",
    "tenure_grpc.aio",
    "tenure_telemetry",
    "tenure_telemetry.measures",
    "tenure_telemetry.opentelemetry",
    "tenure_workers",
    "tenure_workers.celery",
    "tenure_workers.django",
    "tenure_workers.gunicorn",
]


def source(module):
    """The syntax of a module. It isn't imported: that takes servers' libraries, and gRPC's threads outlive a test."""
    package, *rest = module.split(".")
    root = CORE if package == "tenure" else CONTRIB / package.replace("_", "-") / "src" / package
    path = root.joinpath(*rest)
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


def by_source(module):
    """The public functions and classes of a distribution of its own, from its source."""
    tree = source(module)
    public = [
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    ]
    origins = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    public = public or [node.name for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    for name in public:
        body = source(origins[name]).body if name in origins else tree.body
        for node in body:
            if getattr(node, "name", None) == name:
                yield from explained(node, "")


def explained(node, prefix):
    name = prefix + node.name
    if isinstance(node, ast.ClassDef):
        fields = {ast.unparse(one.target): ast.unparse(one.annotation) for one in node.body if is_field(one)}
        for member in node.body:
            if isinstance(member, FUNCTION_NODES) and member.name == "__init__":
                fields |= parameters_of(member)
            elif isinstance(member, FUNCTION_NODES) and not member.name.startswith("_") and not is_property(member):
                yield from explained(member, f"{name}.")
        yield Explained(name, ast.get_docstring(node), fields, None)
    elif isinstance(node, FUNCTION_NODES):
        returns = node.returns is not None and ast.unparse(node.returns) != "None"
        yield Explained(name, ast.get_docstring(node), parameters_of(node), returns)


FUNCTION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef)


def is_property(node):
    return any(ast.unparse(one) == "property" for one in node.decorator_list)


def is_field(node):
    return isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_")


def parameters_of(node):
    given = node.args
    every = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    return {one.arg: ast.unparse(one.annotation) if one.annotation else "" for one in every if one is not None}


OTHERS = {
    **{package.__name__: list(by_import(package, package.__all__)) for package in (registry, aio, testing)},
    "tenure.conformance": list(by_source("tenure.conformance")),
    **{module: list(by_source(module)) for module in CONTRIB_MODULES if CONTRIB.exists()},
}
ERRORS_ARE_IN = (errors, builtins, registry, testing, conformance)
HOOK_PARAMETERS = {hook.__name__: set(inspect.signature(hook).parameters) for hook in HOOKS}


def what_is_missing(module, one):
    """What the docstring of a function lacks."""
    if not one.text:
        yield "docstring"
        return
    found = sections(one.text)
    wanted = [name for name in one.parameters if name not in ("self", "cls") and not name.startswith("_")]
    if (hook := one.name.rpartition(".")[2]) in HOOK_PARAMETERS:  # its specification explains them
        if not set(wanted) <= HOOK_PARAMETERS[hook]:
            yield "a parameter that the hook doesn't have"
        return
    if found.get("Args", []) != wanted:
        yield f"Args: {wanted}"
    if ("Returns" in found) is not one.returns:
        yield "Returns" if one.returns else "Returns, which is too much"
    raised = found.get("Raises", [])
    if bool(raised) is (f"{module}.{one.name}" in RAISES_NOTHING_ELSEWHERE):
        yield "Raises, which is too much" if raised else "Raises"
    for error in raised:
        if error not in FOREIGN_ERRORS and not any(hasattr(place, error) for place in ERRORS_ARE_IN):
            yield f"an error that exists: {error}"


@pytest.mark.parametrize("module", OTHERS)
def test_each_function_of_the_other_packages_is_explained(module):
    functions = [one for one in OTHERS[module] if one.returns is not None]
    assert functions
    missing = {one.name: lacks for one in functions if (lacks := list(what_is_missing(module, one)))}
    assert not missing


@pytest.mark.parametrize("module", [module for module in CONTRIB_MODULES if module in OTHERS])
def test_each_constructor_of_the_other_packages_is_explained(module):
    for one in OTHERS[module]:
        if one.returns is None and f"{module}.{one.name}" not in MADE_BY_CONTRIB:
            found = sections(one.text)
            wanted = {name for name in one.parameters if name != "self"}
            assert {*found.get("Args", []), *found.get("Attributes", [])} == wanted, one.name


def test_the_exceptions_of_the_other_packages_are_still_needed():
    known = {f"{module}.{one.name}" for module, found in OTHERS.items() for one in found}
    unneeded = {name for name in RAISES_NOTHING_ELSEWHERE if name.startswith("tenure.") or CONTRIB.exists()} - known
    assert not unneeded


AMOUNT = re.compile(
    r"(^|_)(timeout|ttl|interval|seconds|grace|delay|duration|lag|remaining|wait|period|slow|staleness|time|bytes|size)$"
)
UNIT = re.compile(r"\b(seconds?|bytes?|how many|number of)\b", re.IGNORECASE)


def core():
    for name, function, text in functions():
        yield Explained(name, text, annotations(function), True)
    for owner in CLASSES:
        fields = {field: kind for base in owner.__mro__ for field, kind in annotations(base).items()}
        yield Explained(owner.__name__, owner.__doc__, {**fields, **annotations(vars(owner).get("__init__"))}, None)


@pytest.mark.parametrize("module", ["tenure", *OTHERS])
def test_each_amount_names_its_unit(module):
    checked = {
        f"{one.name}: {name}": text
        for one in (core() if module == "tenure" else OTHERS[module])
        for title in ("Args", "Attributes")
        for name, text in entries(one.text).get(title, {}).items()
        if AMOUNT.search(name) and re.search(r"\b(int|float)\b", one.parameters.get(name, ""))
    }
    assert len(checked) > 50 or module != "tenure"
    assert not {name: text for name, text in checked.items() if not UNIT.search(text)}


# -- what core says ----------------------------------------------------------------------------------------


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
