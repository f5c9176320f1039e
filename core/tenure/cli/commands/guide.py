"""``tenure guide``: prints the pages that come with the wheel."""

from __future__ import annotations

import click

from tenure.cli.guide import pages
from tenure.cli.options import Settings, common, settings
from tenure.cli.ui.output import Column


@click.command(short_help="Print the pages for authors of stores and operators.")
@click.argument("page", required=False)
@common(url=False)
@settings
def guide(options: Settings, *, page: str | None) -> None:
    """Print a PAGE of the guide as Markdown; without one, list the pages.

    The pages are those of the project's site that need no checkout. On a terminal they go through the pager.
    """
    if page is None:
        rows = [{"page": name, "about": about} for name, (_, about) in pages.PAGES.items()]
        options.output.listing(
            rows,
            [Column("page", lambda r: r["page"], "bold", whole=True), Column("about", lambda r: r["about"])],
            empty="no pages",
        )
        return
    content = pages.text(page)
    if options.json:
        options.output.document({"page": page, "text": content})
    elif options.output.terminal:
        click.echo_via_pager(content)
    else:
        click.echo(content, nl=False)
