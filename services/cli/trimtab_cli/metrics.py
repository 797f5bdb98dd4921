"""`trimtab metrics`: which datasources there are, and how a metric went."""

from __future__ import annotations

import json
import time
from statistics import fmean
from typing import Any

import click
import grpc
from rich.table import Table

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_cli import output
from trimtab_cli.grpc_client import TIMEOUT_S, channel, explain
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.time_series import DAY_S, TimeSeries

_HOUR_S = 3600


@click.group("metrics")
def group() -> None:
    """Measured load, as the datasources have it."""


@group.command("datasources")
@output.format_option
@click.pass_obj
def datasources(obj: Any, form: str) -> None:
    """Show the configured datasources, whether they answer and what they have."""
    with channel(obj.address, obj.token) as ch:
        stub = metrics_pb2_grpc.MetricsServiceStub(ch)
        try:
            answer = stub.ListDatasources(metrics_pb2.ListDatasourcesRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise click.ClickException(explain(error, obj.address)) from error
    rows: list[dict[str, Any]] = [
        {
            "name": source.name,
            "available": source.available,
            "problem": source.problem,
            "metrics": list(source.metrics),
        }
        for source in answer.datasources
    ]
    if form == "json":
        click.echo(json.dumps(rows))
        return
    table = Table("datasource", "answers", "metrics or problem")
    for row in rows:
        says = row["problem"] or ", ".join(row["metrics"])
        table.add_row(row["name"], "yes" if row["available"] else "no", says)
    output.console.print(table)


@group.command("series")
@click.argument("metric")
@click.option("--hours", type=click.FloatRange(min=0.01), default=24.0, show_default=True)
@click.option("--granularity", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--resource", "resources", multiple=True, help="Hostname or server uuid; repeatable.")
@output.format_option
@click.pass_obj
def series(
    obj: Any, metric: str, *, hours: float, granularity: int, resources: tuple[str, ...], form: str
) -> None:
    """Show how METRIC went: its level, its daily wave, and whether it is stationary."""
    end_s = time.time()
    request = metrics_pb2.QuerySeriesRequest(
        metric=metric,
        start_s=end_s - hours * _HOUR_S,
        end_s=end_s,
        granularity_s=granularity,
        resources=resources,
    )
    with channel(obj.address, obj.token) as ch:
        stub = metrics_pb2_grpc.MetricsServiceStub(ch)
        try:
            rows = [_row(each, granularity) for each in stub.QuerySeries(request, timeout=300)]
        except grpc.RpcError as error:
            raise click.ClickException(explain(error, obj.address)) from error
    if form == "json":
        click.echo(json.dumps(rows))
        return
    table = Table("resource", "values", "mean", "min", "max", "daily wave", "stationary")
    for row in rows:
        table.add_row(
            row["resource"],
            str(len(row["value"])),
            *(f"{row[name]:.2f}" for name in ("mean", "min", "max")),
            "-" if row["daily_wave"] is None else f"{row['daily_wave']:.2f}",
            {True: "yes", False: "no", None: "-"}[row["stationary"]],
        )
    output.console.print(table)


def _row(message: metrics_pb2.QuerySeriesResponse, granularity_s: int) -> dict[str, Any]:
    """daily_wave: from its lowest to its highest, None below two days of values."""
    values = list(message.value)
    whole = TimeSeries.of(dict(zip(message.at_s, values, strict=True)), granularity_s)
    day = whole.decompose([DAY_S]).periodic.values() if granularity_s < DAY_S else ()
    try:
        stationary = whole.stationarity().is_stationary
    except TrimtabError:
        stationary = None
    return {
        "resource": message.resource,
        "datasource": message.datasource,
        "at_s": list(message.at_s),
        "value": values,
        "mean": fmean(values),
        "min": min(values),
        "max": max(values),
        "daily_wave": next((max(wave) - min(wave) for wave in day), None),
        "stationary": stationary,
    }
