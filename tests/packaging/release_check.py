"""Does what a release does, except for publishing: builds in a clean container, twice, and installs on every Python.

    python tests/packaging/release_check.py [--keep FOLDER] [--python 3.14 ...]

A line for each step, and exit code 1 if one failed. The steps:

1. The tree is copied as git has it. In a container with Debian's Python and nothing else, sdist and wheel of core and
   of each distribution in ``contrib/`` are built twice: in two folders, with two masks, in two time zones, from files
   with other times. SOURCE_DATE_EPOCH is the time of the last commit. Both builds have to have the same hashes.
2. ``twine check --strict``.
3. Each wheel has an sdist and its bill of materials.
4. On each Python, in a container of its own, every wheel is installed into a fresh environment from the built files.
   ``pip check`` agrees, each package is imported, ``tenure guide`` prints a page, and rules of the suite pass.

Nothing is published, and nothing is written outside the folder. pip is set up in the containers as it is here. Needs a
Docker engine. Python 3.12 is in no release of Debian: without an image of it, the machine's own is used in a fresh
environment, and the line says so.
"""

from __future__ import annotations

import argparse
import contextlib
import email.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
DEBIAN = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky", "3.15": "forky"}
"""The release of Debian that has each Python."""
NEWEST = "3.14"
"""Builds; the newest Python that is released."""
LIMIT = 1200.0

BUILD = r"""
set -eu
python=$1 epoch=$2
"$python" -m venv /tmp/tools
/tmp/tools/bin/pip install --quiet build twine
build() {
    mkdir -p "$1/tree" "$1/dist"
    tar -x -f /in/tree.tar -C "$1/tree" --no-same-owner
    find "$1/tree" -exec touch -d "$2" {} +
    cd "$1/tree"
    for folder in . contrib/*/; do
        [ -f "$folder/pyproject.toml" ] || continue
        SOURCE_DATE_EPOCH=$epoch TZ=$3 /tmp/tools/bin/python -m build --outdir "$1/dist" "$folder" >"$1/log" 2>&1 ||
            { tail -n 30 "$1/log"; exit 1; }
    done
}
umask 022; build /tmp/first 2001-02-03T04:05:06 UTC
umask 077; build /tmp/a-second-place 2021-12-30T23:59:58 Pacific/Kiritimati
cd /tmp/first/dist; sha256sum * >/tmp/first.sums
cd /tmp/a-second-place/dist; sha256sum * >/tmp/second.sums
umask 022; cp /tmp/first/dist/* /tmp/first.sums /tmp/second.sums /out/
/tmp/tools/bin/twine check --strict /tmp/first/dist/*
"""

INSTALL = r"""
set -eu
python=$1 in=$2 work=$3
shift 3
"$python" --version
"$python" -m venv "$work/env"
pip="$work/env/bin/pip install --quiet --find-links $in"
for wheel; do
    case $wheel in
        tenure-[0-9]*) $pip "tenure[cli,conformance] @ file://$in/$wheel" ;;
        *) $pip "$in/$wheel" ;;
    esac
    package=${wheel%%-[0-9]*}
    (cd "$work" && $work/env/bin/python -P -c "import $package")
    echo "installed $wheel"
done
$work/env/bin/pip check
cd "$work"
$work/env/bin/tenure guide write-a-backend >guide.md
test -s guide.md
areas='--area kv --area leases --area watches'
$work/env/bin/tenure conformance memory://installed $areas >run.txt || { cat run.txt; exit 1; }
tail -n 1 run.txt
"""


@dataclass
class Steps:
    """What was tried and how it ended."""

    failed: int = 0
    names: list[str] = field(default_factory=list)

    def say(self, name: str, problems: Sequence[str], detail: str = "") -> None:
        """Print the line of one step."""
        self.names.append(name)
        self.failed += bool(problems)
        print(f"{'FAILED' if problems else 'ok':7}{name}{': ' + detail if detail else ''}", flush=True)
        for problem in problems:
            print(f"       {problem}", flush=True)


def run(*command: str, limit: float = LIMIT, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command and return what it printed, whatever its exit code."""
    return subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit, check=False
    )


def pip_settings() -> list[str]:
    """Return the options of ``docker run`` that set up pip in the container as it is on this machine."""
    names = [name for name in os.environ if name.startswith("PIP_")]
    names += ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
    names += [name for word in ("http_proxy", "https_proxy", "no_proxy") for name in (word, word.upper())]
    names = [name for name in names if os.environ.get(name) and name not in ("PIP_CACHE_DIR", "PIP_LOG")]
    said = [os.environ[name] for name in names]
    places: set[Path] = set()
    home = Path.home()
    for file in (
        Path("/etc/xdg/pip/pip.conf"),
        Path("/etc/pip.conf"),
        home / ".config/pip/pip.conf",
        home / ".pip/pip.conf",
    ):
        if file.is_file():
            places.add(file)
            said.append(file.read_text(encoding="utf-8"))
    # What the settings name: certificates, constraints, folders of packages. An index links to files beside its folder.
    for text in re.findall(r"/[^\s\"',;\[\]]+", "\n".join(said)):
        path = Path("/" + text.lstrip("/"))
        if text.startswith("///"):
            path = path.parent
        if (
            path.exists() and not text.startswith("//") and path != Path("/") and path.parts[1] not in ("dev", "proc")
        ) or (text.startswith("///") and path.exists()):
            places.add(path)
    options = [word for name in names for word in ("--env", name)]
    return options + [word for place in sorted(places) for word in ("--volume", f"{place}:{place}:ro")]


@contextlib.contextmanager
def image(python: str) -> Iterator[str]:
    """Give an image with this Python: an official one that is here, or one of Debian's package; empty if neither."""
    official = f"python:{python}-slim"
    if run("docker", "image", "inspect", official).returncode == 0:
        yield official
        return
    suite = DEBIAN.get(python)
    if suite is None:
        yield ""
        return
    made = run("docker/base-images", suite)
    name = f"tenure/python:{python}"
    text = (
        f"FROM debian:{suite}-slim\nRUN apt-get update && apt-get install -y --no-install-recommends "
        f"python{python}-venv ca-certificates && rm -rf /var/lib/apt/lists/*\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(text, encoding="utf-8")
        proxies = [
            word
            for name_ in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
            if os.environ.get(name_)
            for word in ("--build-arg", name_)
        ]
        done = run("docker", "build", "--network", "host", "--tag", name, *proxies, folder)
    if done.returncode:
        raise RuntimeError(f"no image with Python {python}:\n{made.stdout[-2000:]}\n{done.stdout[-2000:]}")
    yield name


def interpreter(python: str) -> str:
    """Return a working interpreter of this machine, also one that a version manager keeps; empty if there is none."""
    manager = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{python}"), *sorted(manager.glob(f"versions/{python}.*/bin/python{python}"))]
    return next((str(each) for each in candidates if each and run(str(each), "-c", "").returncode == 0), "")


def in_container(
    image_name: str, script: str, *words: str, folders: dict[Path, str]
) -> subprocess.CompletedProcess[str]:
    """Run a script in a new container; ``folders`` are mounted, read-only but for ``/out``."""
    mounts = [
        word
        for folder, place in folders.items()
        for word in ("--volume", f"{folder}:{place}{'' if place == '/out' else ':ro'}")
    ]
    label = f"tenure.tests.owner={os.uname().nodename}:{os.getpid()}"
    options = ["--rm", "--init", "--network", "host", "--security-opt", "apparmor=unconfined", "--label", label]
    options += ["--env", "PIP_ROOT_USER_ACTION=ignore", *pip_settings(), *mounts]
    return run("docker", "run", *options, image_name, "sh", "-c", script, "sh", *words)


def built(steps: Steps, folder: Path) -> list[Path]:
    """Build everything twice in a container, and return the files of the first build."""
    tree, out = folder / "in", folder / "dist"
    tree.mkdir()
    out.mkdir()
    run("git", "archive", "--format=tar", f"--output={tree / 'tree.tar'}", "HEAD")
    epoch = run("git", "log", "-1", "--format=%ct").stdout.strip()
    with image(NEWEST) as name:
        done = in_container(name, BUILD, f"python{NEWEST}", epoch, folders={tree: "/in", out: "/out"})
    sums = [out / "first.sums", out / "second.sums"]
    if done.returncode and not all(path.exists() for path in sums):
        steps.say("build in a clean container", [done.stdout[-4000:]])
        return []
    first, second = (path.read_text(encoding="utf-8").splitlines() for path in sums)
    for path in sums:
        path.unlink()
    files = sorted(path for path in out.iterdir())
    steps.say("build in a clean container", [], f"{len(files)} files on Python {NEWEST}")
    differs = sorted(set(first) ^ set(second))
    steps.say("both builds are the same, byte for byte", differs, f"SOURCE_DATE_EPOCH={epoch}")
    problems = [] if done.returncode == 0 else [done.stdout[-3000:]]
    steps.say("twine check --strict", problems, f"{done.stdout.count('PASSED')} passed")
    return files


def contents(steps: Steps, files: Sequence[Path]) -> None:
    """Look into the files: a bill and a licence in each wheel, metadata that fit, one version each."""
    wheels = [path for path in files if path.suffix == ".whl"]
    problems, unaddressed = [], []
    for wheel in wheels:
        archive = zipfile.ZipFile(wheel)
        names = archive.namelist()
        (where,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = email.parser.Parser().parsestr(archive.read(where).decode())
        bills = [name for name in names if "/sboms/" in name]
        if len(bills) != 1:
            problems.append(f"{wheel.name} has {len(bills)} bills of materials")
            continue
        component = json.loads(archive.read(bills[0]))["metadata"]["component"]
        if (component["name"], component["version"]) != (metadata["Name"], metadata["Version"]):
            problems.append(f"{wheel.name}: its bill is of {component['name']} {component['version']}")
        if f"{wheel.name.split('-')[0]}-{metadata['Version']}.tar.gz" not in {path.name for path in files}:
            problems.append(f"{wheel.name} has no sdist of its version")
        if not metadata.get_all("Project-URL"):
            unaddressed.append(metadata["Name"])
    steps.say("each wheel has a bill of materials, and an sdist", problems, f"{len(wheels)} wheels")
    if unaddressed:
        print(f"{'open':7}no project address in the metadata of {', '.join(unaddressed)}: see core/docs/releasing.md")


def installed(steps: Steps, python: str, files: Sequence[Path]) -> None:
    """Install every wheel on one Python."""
    wheels = sorted(
        (path.name for path in files if path.suffix == ".whl"), key=lambda name: (name[:7] != "tenure-", name)
    )
    with image(python) as name:
        if name:
            done = in_container(
                name, INSTALL, f"python{python}", "/in", "/tmp", *wheels, folders={files[0].parent: "/in"}
            )
            where = name
        else:
            found = interpreter(python)
            if not found:
                steps.say(f"install on Python {python}", ["neither an image nor an interpreter of this machine has it"])
                return
            with tempfile.TemporaryDirectory() as folder:
                environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
                done = subprocess.run(
                    ["sh", "-c", INSTALL, "sh", found, str(files[0].parent), folder, *wheels],
                    cwd=folder,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=LIMIT,
                    check=False,
                )
            where = "a fresh environment of this machine's, no container"
    version = next((line for line in done.stdout.splitlines() if line.startswith("Python ")), "")
    problems = [done.stdout[-3000:]] if done.returncode else []
    steps.say(
        f"install on Python {python}", problems, f"{version}, {done.stdout.count('installed ')} wheels, in {where}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what was built here")
    parser.add_argument("--python", action="append", choices=PYTHONS, help="install on this one only; may be repeated")
    given = parser.parse_args(arguments)
    if run("git", "status", "--porcelain").stdout.strip():
        print("note   the tree has changes that aren't committed; they are left out", flush=True)
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="tenure-release-") as work:
        files = built(steps, Path(work))
        if files:
            contents(steps, files)
            for python in given.python or PYTHONS:
                installed(steps, python, files)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                for path in files:
                    shutil.copy(path, given.keep)
    print(f"{'FAILED' if steps.failed else 'passed'}: {len(steps.names) - steps.failed} of {len(steps.names)} steps")
    return 1 if steps.failed else 0


if __name__ == "__main__":
    sys.exit(main())
