"""`trimtab openapi`: the OpenAPI 3.1 document of Watcher's REST API, for tools that read one."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import click

GROUP = "trimtab.documents"
"""Entry points under which a service gives its documents; the command imports none of them."""


@click.command("openapi")
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: the terminal.",
)
def openapi(output_file: Path | None) -> None:
    """Write the OpenAPI document; a running system serves it at /trimtab/v1/openapi.json."""
    (found,) = metadata.entry_points(group=GROUP, name="openapi")
    text = json.dumps(found.load()(), indent=2) + "\n"
    if output_file is None:
        click.echo(text, nl=False)
    else:
        output_file.write_text(text)
