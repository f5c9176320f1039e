"""``tenure new-backend``: writes out the package of a store plugin that works, passes, and waits to be changed."""

from __future__ import annotations

from pathlib import Path

import click

from tenure.cli.options import Settings, common, settings
from tenure.cli.scaffold.plan import URL_FORMS, Project, plan


@click.command(short_help="Write out the package of a new store plugin.")
@click.argument("name")
@click.option(
    "--directory", type=click.Path(path_type=Path), metavar="DIR", help="Directory to write to. Default: ./tenure-NAME."
)
@click.option("--scheme", metavar="SCHEME", help="Scheme of the store's URLs. Default: NAME.")
@click.option(
    "--url-form",
    type=click.Choice(sorted(URL_FORMS)),
    default="name",
    show_default=True,
    help="What the URLs name: servers, a file, or a name.",
)
@common(url=False)
@settings
def new_backend(options: Settings, name: str, directory: Path | None, scheme: str | None, url_form: str) -> None:
    """Write out a complete package for a store plugin: entry point, a backend on a dictionary, tests, checks.

    With --url-form hosts the dictionary is in a small server, so that its being killed and cut off is tested, too.
    It passes the whole conformance suite as it is. Replace the dictionary by your store, method by method;
    'tenure guide write-a-backend' takes you through it. No file that exists is overwritten.
    """
    project = plan(name, scheme=scheme, url_form=url_form)
    target = Path(project.distribution) if directory is None else directory
    project.write(target)
    _tell(options, project, target)


def _tell(options: Settings, project: Project, target: Path) -> None:
    steps = (
        *(() if target.resolve() == Path.cwd() else (f"cd {click.format_filename(target)}",)),
        "pip install -e '.[test]'",
        "pytest -k test_kv_a_missing_key_reads_as_none",
        "pytest",
        "tenure guide write-a-backend",
        f"grep -rnI REPLACE {project.package} tests",
    )
    out = options.output
    if out.json:
        out.document(
            {
                "distribution": project.distribution,
                "package": project.package,
                "scheme": project.scheme,
                "directory": str(target),
                "files": sorted(project.files),
                "next": list(steps),
            }
        )
        return
    out.line(("wrote ", ""), (str(target), "bold"), (f": {', '.join(sorted(project.files))}", ""))
    out.line((f"{project.scheme}:// is {project.summary} so far. Next:", ""))
    for step in steps:
        out.line((f"  {step}", "bold"))
