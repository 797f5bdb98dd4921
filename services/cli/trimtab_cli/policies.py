"""`trimtab policy`: the rules that an operator's policy file may override."""

from __future__ import annotations

from pathlib import Path

import click

NAMESPACE = "trimtab"
"""The entry point in group oslo.policy.policies under which api lists its rules."""


@click.group("policy")
def group() -> None:
    """Who may do what."""


@group.command("sample")
@click.option(
    "--output-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: the terminal.",
)
def sample(output_file: Path | None) -> None:
    """Write a policy.yaml with every rule and its default, commented out."""
    from oslo_config import cfg  # noqa: PLC0415, half a second that other commands need not wait
    from oslo_policy import generator  # noqa: PLC0415, same

    arguments = ["--namespace", NAMESPACE]
    if output_file is not None:
        arguments += ["--output-file", str(output_file)]
    generator.generate_sample(args=arguments, conf=cfg.ConfigOpts())
