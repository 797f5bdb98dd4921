"""`trimtab db`: the schema of the record."""

from __future__ import annotations

import asyncio

import click

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.store import migrate


@click.group("db")
def group() -> None:
    """The database that holds the record."""


@group.command("upgrade")
@click.argument("url", envvar="TRIMTAB_DATABASE")
def upgrade(url: str) -> None:
    """Bring the schema of the database at URL to this release; safe to repeat."""
    try:
        asyncio.run(migrate.upgrade(url))
        click.echo(f"schema {asyncio.run(migrate.current(url))}")
    except TrimtabError as error:
        raise click.ClickException(error.message) from error


@group.command("version")
@click.argument("url", envvar="TRIMTAB_DATABASE")
def version(url: str) -> None:
    """Print the schema of the database and the one this release needs."""
    try:
        found = asyncio.run(migrate.current(url))
    except TrimtabError as error:
        raise click.ClickException(error.message) from error
    click.echo(f"schema {found or 'none'}, this release needs {migrate.head()}")
