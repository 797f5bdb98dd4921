"""`trimtab simulate`: run a strategy without any cloud, on a saved model or a cluster file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from trimtab_cli import models, output, parameters
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.wire.cluster_file import load_cluster_file
from trimtab_decision.simulate import simulate

SHOWN_MOVES = 20


@click.command("simulate")
@click.option("--cluster", type=click.Path(path_type=Path), help="A cluster file (JSON).")
@click.option("--model", type=click.Path(path_type=Path), help="A file of `trimtab model save`.")
@click.option("--goal", "-g", required=True)
@click.option("--strategy", "-s", help="Default: the goal's first.")
@click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help="Strategy parameter.")
@click.option("--seed", default=0, show_default=True)
@output.format_option
def command(
    *,
    cluster: Path | None,
    model: Path | None,
    goal: str,
    strategy: str | None,
    pairs: tuple[str, ...],
    seed: int,
    form: str,
) -> None:
    """Plan without a cloud and check the plan with the independent verifier."""
    if (cluster is None) == (model is None):
        raise click.UsageError("give exactly one of --cluster and --model")
    try:
        snapshot, metrics = _load(cluster, model)
        report = simulate(
            snapshot,
            metrics,
            goal=goal,
            strategy=strategy,
            parameters=parameters.parse(pairs),
            seed=seed,
        )
    except TrimtabError as error:
        raise click.ClickException(error.message) from error
    document = report.as_dict()
    if form == "json":
        output.print_json(document)
    else:
        _print(document)
    if document["violations"]:
        raise SystemExit(1)


def _load(cluster: Path | None, model: Path | None) -> tuple[ComputeSnapshot, MetricsTable]:
    if cluster is not None:
        return load_cluster_file(cluster)
    return models.read(model or Path())


def _print(document: dict[str, Any]) -> None:
    moves = document.get("moves", [])
    table = Table(box=None, padding=(0, 1), show_header=False)
    for name, value in document.items():
        if name != "moves":
            table.add_row(name, output.cell(name, value))
    output.console.print(table)
    if not moves:
        return
    shown = Table(title=f"first {min(SHOWN_MOVES, len(moves))} of {len(moves)} actions", box=None)
    columns = list(moves[0])
    for column in columns:
        shown.add_column(column)
    for move in moves[:SHOWN_MOVES]:
        shown.add_row(*(output.cell(column, move.get(column)) for column in columns))
    output.console.print(shown)
