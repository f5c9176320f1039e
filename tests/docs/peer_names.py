"""Names of other libraries that their users meet, for the pages under ``core/docs/coming-from``.

tooz is no dependency of the tests, so its names are in ``tooz_names.json``. ``python tests/docs/peer_names.py VERSION
FOLDER`` writes that file from tooz's unpacked wheel.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

TOOZ = Path(__file__).parent / "tooz_names.json"

GIVEN = {"self", "args", "kwargs", "kw", "client", "redis", "name", "path"}
"""What every constructor of its kind takes: itself, its client, its path."""


@dataclass
class Names:
    """Of one library: what its page must name, and what it may name."""

    must: set[str] = field(default_factory=set)
    """Public methods and properties, options of the constructors, exceptions."""
    may: set[str] = field(default_factory=set)
    """Options of methods, attributes, and parts that few applications meet."""

    def add_class(self, owner: type, *, constructed: bool = True) -> None:
        """Add methods and attributes of a class, and options of its constructor if applications call it."""
        name = owner.__name__
        found = _methods(owner)
        self.must |= {f"{name}.{each}" for each in found} or {name}  # one without methods is used by calling it
        if constructed:
            self.must |= {f"{name}({each}=)" for each in _options(owner) - GIVEN}
        self.may |= {name} | {f"{name}({each}=)" for each in _options(owner)}
        self.may |= {f"{name}.{each}" for each in _attributes(owner)}
        for call in found:
            self.may |= {f"{name}.{call}({each}=)" for each in _options(getattr(owner, call))}

    def add_source(self, path: Path, *, whole: Collection[str] | None = None, internal: Collection[str] = ()) -> None:
        """Add the classes of a file that isn't imported.

        Args:
            path: the file. Its functions may be named.
            whole: the classes whose methods must be named; all by default. Of others the name of the class must be.
            internal: classes that may be named, and needn't.
        """
        tree = ast.parse(path.read_text(encoding="utf-8"))
        passed_on = {each for call in ast.walk(tree) if isinstance(call, ast.FunctionDef) for each in _parameters(call)}
        for owner in tree.body:
            if isinstance(owner, ast.FunctionDef):
                self.may |= {owner.name} | {f"{owner.name}({each}=)" for each in _parameters(owner)}
            if not isinstance(owner, ast.ClassDef) or owner.name.startswith("_"):
                continue
            calls = [each for each in owner.body if isinstance(each, ast.FunctionDef)]
            public = {f"{owner.name}.{each.name}" for each in calls if not each.name.startswith("_")}
            self.may |= public | {owner.name} | {f"{owner.name}.{each}" for each in _set_on_self(owner)}
            if owner.name not in internal:
                self.must |= (public if whole is None or owner.name in whole else set()) or {owner.name}
            for call in calls:
                name = owner.name if call.name == "__init__" else f"{owner.name}.{call.name}"
                known = _parameters(call) | (passed_on if call.args.kwarg else set())
                self.may |= {f"{name}({each}=)" for each in known}


def _methods(owner: type) -> set[str]:
    """Public methods and properties of a class, those of its bases too."""
    found = set()
    for name in dir(owner):
        plain = inspect.getattr_static(owner, name)
        if not name.startswith("_") and (callable(getattr(owner, name, None)) or isinstance(plain, property)):
            found.add(name)
    return found


def _options(call: object) -> set[str]:
    try:
        parameters = inspect.signature(call).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return set()  # a property, or a method written in C
    return {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def _parameters(call: ast.FunctionDef) -> set[str]:
    return {each.arg for each in [*call.args.args, *call.args.kwonlyargs]}


def _attributes(owner: type) -> set[str]:
    """Public attributes that a class and its bases set."""
    found = {each for each in vars(owner) if not each.startswith("_")}
    for base in owner.__mro__[:-1]:
        if base.__module__.startswith(owner.__module__.partition(".")[0]):
            found |= _set_on_self(ast.parse(textwrap.dedent(inspect.getsource(base))))
    return found


def _set_on_self(tree: ast.AST) -> set[str]:
    stores = (each for each in ast.walk(tree) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    found = {each.attr for each in stores if isinstance(each.value, ast.Name) and each.value.id == "self"}
    return {each for each in found if not each.startswith("_")}


def _defined(module: ModuleType) -> Iterator[str]:
    """Public classes and functions of a module."""
    for name, found in vars(module).items():
        own = getattr(found, "__module__", "") == module.__name__ and not name.startswith("_")
        if own and (inspect.isclass(found) or inspect.isfunction(found)):
            yield name


def _classes(module: ModuleType) -> list[type]:
    return [found for found in map(vars(module).get, _defined(module)) if inspect.isclass(found)]


def _errors(module: ModuleType) -> set[str]:
    return {each.__name__ for each in _classes(module) if issubclass(each, BaseException)}


def _source(package: str) -> Path:
    """The folder of a package, which isn't imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    (folder,) = spec.submodule_search_locations or ()
    return Path(folder)


def kazoo() -> Names:
    from kazoo import client, exceptions, handlers, recipe, retry, security
    from kazoo.handlers import utils
    from kazoo.protocol import states

    found = Names()
    found.add_class(client.KazooClient)
    found.must |= {f"KazooClient.{each}" for each in _attributes(client.KazooClient) if each[0].isupper()}  # recipes
    found.add_class(client.TransactionRequest)
    found.add_class(retry.KazooRetry)
    found.add_class(utils.AsyncResult, constructed=False)
    # Parts that no application makes. A partition's states and what a TreeCache reports may be named.
    internal = {"TreeNode", "TreeEvent", "NodeData", "PartitionState", "BaseQueue"}
    for module in pkgutil.iter_modules(recipe.__path__):
        if module.name != "tests":
            for owner in _classes(importlib.import_module(f"kazoo.recipe.{module.name}")):
                if owner.__name__ in internal:
                    found.may.add(owner.__name__)
                else:
                    found.add_class(owner)
    found.must |= _errors(exceptions) | _errors(retry) | {"KazooTimeoutError"} | set(_defined(security))
    found.must |= set(_defined(states)) - {"Callback"}
    kinds = {each.name for each in pkgutil.iter_modules(handlers.__path__)} - {"utils"}
    found.must |= {"IHandler"} | {f"Sequential{each.title()}Handler" for each in kinds}
    for file in ("common", "harness"):  # importing them needs OpenSSL's bindings
        found.add_source(_source("kazoo") / f"testing/{file}.py", whole={"KazooTestHarness"})
    return found


def redis() -> Names:
    from redis import Redis, RedisCluster, asyncio, exceptions, lock

    found = Names()
    found.add_class(lock.Lock)
    found.must |= _errors(exceptions)
    for client, name in ((Redis, "Redis"), (RedisCluster, "RedisCluster"), (asyncio.Redis, "redis.asyncio.Redis")):
        found.must.add(f"{name}.lock")
        found.may |= {f"{name}.lock({each}=)" for each in _options(client.lock)}
    found.must.add(f"redis.{asyncio.lock.__name__.removeprefix('redis.')}.Lock")
    return found


def consul() -> Names:
    from consul import Check, Consul, base

    found = Names()
    found.must |= {f"Check.{each}" for each in _methods(Check)}
    found.must |= {f"Consul({each}=)" for each in _options(Consul)}
    found.must |= _errors(base) | {f"consul.{name}.Consul" for name in ("aio", "tornado", "twisted")}

    def walk(value: object, path: str) -> None:
        for name in dir(value):
            part = getattr(value, name)
            if name.startswith("_") or (name == "agent" and path) or inspect.isclass(part):
                continue  # each part has the client as its ``agent``
            if inspect.ismethod(part) and path:
                found.must.add(f"{path}{name}")
                found.may |= {f"{path}{name}({each}=)" for each in _options(part)}
            elif type(part).__module__.startswith("consul"):
                walk(part, f"{path}{name}.")

    walk(Consul(), "")
    return found


def etcd3() -> Names:
    """Read from the source: the package doesn't import beside a protobuf of today."""
    found = Names()
    for file in ("client", "locks", "leases", "members", "watch", "transactions", "exceptions", "events"):
        found.add_source(_source("etcd3") / f"{file}.py")
    found.must |= {each for each in found.may if each.startswith("client(")}
    # ``watch`` and its like pass their options on to another module.
    passed_on = {each.partition("(")[2] for each in found.may if each.startswith("Watcher.add_callback(")}
    found.may |= {f"Etcd3Client.watch({each}" for each in passed_on}
    return found


def tooz() -> Names:
    kept = json.loads(TOOZ.read_text(encoding="utf-8"))
    return Names(set(kept["must"]), set(kept["may"]))


def tooz_version() -> str:
    return str(json.loads(TOOZ.read_text(encoding="utf-8"))["version"])


def keep_tooz(version: str, folder: Path) -> None:
    """Write the list from the folder ``tooz`` of an unpacked wheel."""
    found = Names()
    # What drivers are made of.
    internal = {"Event", "EventCallback", "Hooks", "CoordinatorResult"}
    internal |= {"CoordinationDriverWithExecutor", "CoordinationDriverCachedRunWatchers"}
    for file in ("__init__", "coordination", "locking", "partitioner", "hashring"):
        found.add_source(folder / f"{file}.py", internal=internal)
    found.may |= {"CoordinationDriver.CHARACTERISTICS", "SerializationError"}
    found.must |= {each for each in found.may if each.startswith(("get_coordinator(", "HashRing("))}
    found.must -= {f"{each}(self=)" for each in ("HashRing", "get_coordinator")}
    # An enumeration's members.
    tree = ast.parse((folder / "coordination.py").read_text(encoding="utf-8"))
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef) and owner.name == "Characteristics":
            names = [each.targets[0] for each in owner.body if isinstance(each, ast.Assign)]
            found.must |= {f"Characteristics.{each.id}" for each in names if isinstance(each, ast.Name)}
    kept = {"version": version, "must": sorted(found.must), "may": sorted(found.may - found.must)}
    TOOZ.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


PEERS: dict[str, Callable[[], Names]] = {
    "kazoo": kazoo,
    "redis-lock": redis,
    "python-consul": consul,
    "etcd3": etcd3,
    "tooz": tooz,
}
"""Page -> the names of its library."""

if __name__ == "__main__":
    keep_tooz(sys.argv[1], Path(sys.argv[2]))
