"""`trimtab simulate`: run strategies without any cloud, on a saved model or a cluster file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from trimtab_cli import models, output, parameters
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.wire.cluster_file import load_cluster_file, load_machines
from trimtab_decision import pareto
from trimtab_decision.plugins import load_registry
from trimtab_decision.simulate import SimulationReport, simulate
from trimtab_decision.what_if import edit

SHOWN_MOVES = 20
COMPARED = (
    "strategy",
    "cpu_s",
    "peak_mib",
    "migrations",
    "actions",
    "hosts_in_use_before",
    "hosts_in_use_after",
    "cpu_load_sd_before",
    "cpu_load_sd_after",
    "efficacy",
    "violations",
    "problem",
)
"""What `--compare` shows of each strategy."""

CURVE = (
    "max_migrations",
    "migrations",
    "memory_mib",
    "hosts_freed",
    "cpu_load_sd",
    "value",
    "bound",
    "gap_pct",
    "cpu_s",
    "is_worth_it",
)
"""What `--pareto` shows of each point."""

Clouds = tuple[ComputeSnapshot, MetricsTable, ElementSnapshot | None]


@click.command("simulate")
@click.option("--cluster", type=click.Path(path_type=Path), help="A cluster file (JSON).")
@click.option("--model", type=click.Path(path_type=Path), help="A file of `trimtab model save`.")
@click.option("--goal", "-g", required=True)
@click.option("--strategy", "-s", help="Default: the goal's first.")
@click.option("--compare", metavar="S1,S2", help="Several strategies of the goal, side by side.")
@click.option("--max-migrations", type=click.IntRange(min=0), help="The most servers that move.")
@click.option("--explain", is_flag=True, help="Why each move, and what ruled others out.")
@click.option("--pareto", "wants_curve", is_flag=True, help="Gain against migrations allowed.")
@click.option("--planner", help="Order the plan by this planner, e.g. critical_path.")
@click.option("--drain", multiple=True, metavar="HOST", help="What if this host were emptied?")
@click.option(
    "--add-host", multiple=True, metavar="NAME[:LIKE]", help="What if there were one host more?"
)
@click.option(
    "--lose-rack",
    multiple=True,
    metavar="NAME",
    help="What if the hosts of this aggregate or zone were gone?",
)
@click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help="Strategy parameter.")
@click.option("--seed", default=0, show_default=True)
@output.format_option
def command(**options: Any) -> None:
    """Plan without a cloud and check the plan with the independent verifier.

    What-if edits come first: hosts are added, racks are lost, hosts are drained; servers that lose
    their host go to the roomiest one that may take them. The strategy plans on what is left.
    """
    form = options["form"]
    _check_usage(options)
    try:
        clouds = _load(options["cluster"], options["model"])
        edited = edit(
            clouds[0],
            clouds[1],
            add_hosts=options["add_host"],
            drain=options["drain"],
            lose_racks=options["lose_rack"],
        )
        run = _Run(
            clouds=(edited.snapshot, edited.metrics, clouds[2]),
            goal=options["goal"],
            given=parameters.parse(options["pairs"]),
            seed=options["seed"],
            planner=options["planner"],
        )
        if options["max_migrations"] is not None:
            run.given["max_migrations"] = options["max_migrations"]
        n_violations = _show(run, edited.told, options, form)
    except TrimtabError as error:
        raise click.ClickException(error.message) from error
    if n_violations:
        raise SystemExit(1)


def _check_usage(options: Mapping[str, Any]) -> None:
    if (options["cluster"] is None) == (options["model"] is None):
        raise click.UsageError("give exactly one of --cluster and --model")
    if options["strategy"] is not None and options["compare"] is not None:
        raise click.UsageError("give --strategy or --compare, not both")
    if options["compare"] is not None and options["wants_curve"]:
        raise click.UsageError("give --pareto or --compare, not both")


def _show(run: _Run, told: list[dict[str, Any]], options: Mapping[str, Any], form: str) -> int:
    """Runs and prints what was asked for; how many violations there are."""
    if options["compare"] is not None:
        names = [name.strip() for name in options["compare"].split(",") if name.strip()]
        rows = [_compared(run, name) for name in names]
        _print_comparison(rows, form)
        return sum(row["violations"] for row in rows)
    if options["wants_curve"]:
        points = _curve(run, options["strategy"])
        _print_curve(points, told, form)
        return sum(point["violations"] for point in points)
    report = run.report(options["strategy"])
    document = report.as_dict()
    if told:
        document["what_if"] = told
    if options["explain"]:
        document["explanation"] = report.explanation()
    if form == "json":
        output.print_json(document)
    else:
        _print(document)
    return int(document["violations"])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all reports of one call share."""

    clouds: Clouds
    goal: str
    given: dict[str, Any]
    seed: int
    planner: str | None = None

    def report(
        self, strategy: str | None, given: Mapping[str, Any] | None = None
    ) -> SimulationReport:
        """One simulation. TrimtabError."""
        snapshot, metrics, machines = self.clouds
        return simulate(
            snapshot,
            metrics,
            goal=self.goal,
            strategy=strategy,
            parameters=self.given if given is None else given,
            seed=self.seed,
            baremetal=machines,
            planner=self.planner,
        )


def _load(cluster: Path | None, model: Path | None) -> Clouds:
    if cluster is not None:
        return *load_cluster_file(cluster), load_machines(cluster)
    return *models.read(model or Path()), None


def _curve(run: _Run, strategy: str | None) -> list[dict[str, Any]]:
    chosen = type(load_registry().select_strategy(run.goal, strategy))
    return pareto.curve(lambda given: run.report(chosen.name, given), chosen, run.given)


def _print_curve(points: list[dict[str, Any]], told: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        output.print_json({"pareto": points, **({"what_if": told} if told else {})})
        return
    if not points:
        output.console.print("Nothing is planned, with however many migrations.")
        return
    table = Table(box=None, padding=(0, 1))
    shown = [name for name in CURVE if any(point[name] is not None for point in points)]
    for name in shown:
        table.add_column(name, justify="right")
    for point in points:
        table.add_row(*(output.cell(name, point[name]) for name in shown))
    output.console.print(table)


def _compared(run: _Run, strategy: str) -> dict[str, Any]:
    """One row; a strategy that cannot run here says so in `problem`."""
    try:
        document = run.report(strategy).as_dict()
    except TrimtabError as error:
        document = {"strategy": strategy, "violations": 0, "problem": error.message}
    return {name: document.get(name) for name in COMPARED}


def _print_comparison(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        output.print_json({"comparison": rows})
        return
    table = Table(box=None, padding=(0, 1))
    table.add_column("")
    for row in rows:
        table.add_column(str(row["strategy"]))
    for name in COMPARED[1:]:
        if any(row[name] not in (None, "") for row in rows):
            table.add_row(name, *(output.cell(name, row[name]) for row in rows))
    output.console.print(table)


def _print(document: dict[str, Any]) -> None:
    moves = document.get("moves", [])
    explanation = document.pop("explanation", None)
    table = Table(box=None, padding=(0, 1), show_header=False)
    for name, value in document.items():
        if name != "moves":
            table.add_row(name, output.cell(name, value))
    output.console.print(table)
    if explanation is not None:
        _print_explanation(explanation)
        return
    if not moves:
        return
    shown = Table(title=f"first {min(SHOWN_MOVES, len(moves))} of {len(moves)} actions", box=None)
    columns = list(moves[0])
    for column in columns:
        shown.add_column(column)
    for move in moves[:SHOWN_MOVES]:
        shown.add_row(*(output.cell(column, move.get(column)) for column in columns))
    output.console.print(shown)


def _print_explanation(explanation: dict[str, Any]) -> None:
    """Every action with its reason; an empty plan with what stood in the way."""
    moves = explanation.pop("moves")
    table = Table(title="why", box=None, padding=(0, 1), show_header=False)
    for name, value in explanation.items():
        if value not in (None, [], {}):
            table.add_row(name, output.cell(name, value))
    output.console.print(table)
    for move in moves:
        way = " -> ".join(part for part in (move["source"], move["destination"]) if part)
        output.console.print(
            f"{move['action_type']} {move['resource'] or ''} {way}\n    {move['reason']}",
            highlight=False,
            markup=False,
        )
