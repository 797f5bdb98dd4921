"""`trimtab model`: look at the live compute model, follow it, keep it in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import grpc
from google.protobuf.json_format import MessageToDict
from rich.table import Table

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc, model_pb2, model_pb2_grpc
from trimtab_cli import following, output, picture
from trimtab_cli.grpc_client import TIMEOUT_S, channel, explain
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.graph import compute_graph, storage_graph
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.wire import metrics_codec, saved_model
from trimtab_common.wire.element_codec import elements_of

METRICS = (
    "host_cpu_usage",
    "host_ram_usage",
    "instance_cpu_usage",
    "instance_ram_usage",
    "instance_ram_allocated",
    "instance_root_disk_size",
)


@click.group("model")
def group() -> None:
    """The cluster model that plans are made from."""


@group.command("show")
@output.format_option
@click.pass_obj
def show(obj: Any, form: str) -> None:
    """Show the hosts of the live model."""
    with channel(obj.address, obj.token) as ch:
        _print(_snapshot(ch), form)


@group.command("load")
@click.argument("file", type=click.Path(path_type=Path))
@output.format_option
def load(file: Path, form: str) -> None:
    """Check a saved model and show its hosts."""
    snapshot, metrics = read(file)
    _print(snapshot, form)
    if form == "table":
        known = ", ".join(sorted({*metrics.host, *metrics.server})) or "none"
        output.console.print(f"metrics: {known}")


@group.command("save")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def save(obj: Any, file: Path) -> None:
    """Write the live model and its measured load to a file, for `trimtab simulate --model`."""
    with channel(obj.address, obj.token) as ch:
        snapshot = _snapshot(ch)
        request = metrics_pb2.QueryMetricsRequest(
            queries=[metrics_pb2.MetricQuery(metric=name, optional=True) for name in METRICS]
        )
        stub = metrics_pb2_grpc.MetricsServiceStub(ch)
        try:
            values = list(stub.QueryMetrics(request, timeout=TIMEOUT_S))
            metrics: MetricsTable | None = metrics_codec.table(snapshot, values)
        except grpc.RpcError as error:
            click.echo(f"saved without measured load: {explain(error, obj.address)}", err=True)
            metrics = None
    try:
        saved_model.save_model(file, snapshot, metrics)
    except OSError as error:
        raise click.ClickException(f"Cannot write {file}: {error.strerror}") from error
    click.echo(f"{file}: {snapshot.n_hosts} hosts, {snapshot.n_servers} servers")


@group.command("graph")
@click.option("--storage", "with_storage", is_flag=True, help="With pools and volumes.")
@click.pass_obj
def graph(obj: Any, with_storage: bool) -> None:  # noqa: FBT001, click passes options by name
    """Print the live model as a graph: vertices and edges, as JSON."""
    with channel(obj.address, obj.token) as ch:
        found = compute_graph(_snapshot(ch))
        if with_storage:
            stub = model_pb2_grpc.ModelServiceStub(ch)
            request = model_pb2.GetModelRequest(kind="storage")
            try:
                model = elements_of(stub.GetModel(request, timeout=TIMEOUT_S))
            except grpc.RpcError as error:
                raise click.ClickException(explain(error, obj.address)) from error
            found = found.joined(storage_graph(model.snapshot()))
    click.echo(json.dumps(found.as_json(), indent=1))


@group.command("watch")
@click.option("--count", default=0, help="End after this many changes; 0: never.")
@click.option("--heartbeat", default=5, show_default=True, help="Seconds.")
@output.format_option
@click.pass_obj
def watch(obj: Any, count: int, heartbeat: int, form: str) -> None:
    """Print every change of the live model as it happens."""

    def opened(channel: grpc.Channel, place: str, call: dict[str, Any]) -> Iterator[Any]:
        request = model_pb2.WatchModelRequest(resume_token=place, heartbeat_s=heartbeat)
        return iter(model_pb2_grpc.ModelServiceStub(channel).WatchModel(request, **call))

    seen = 0
    for message in following.messages(obj, opened):
        seen += _print_event(message, form)
        if count and seen >= count:
            return


def _print_event(message: Any, form: str) -> int:
    """Prints what there is to see; gives the number of deltas."""
    kind = message.WhichOneof("event")
    if form == "json":
        if kind != "compute":
            click.echo(_json_line(message))
    elif kind == "begin":
        begin = message.begin
        click.echo(
            f"snapshot ({begin.reason}): {begin.hosts} hosts, {begin.servers} servers, "
            f"revision {begin.position.revision:.0f}"
        )
    elif kind == "deltas":
        for delta in message.deltas.deltas:
            for change in delta.changes:
                at = delta.at.ToDatetime().strftime("%H:%M:%S.%f")[:-3]
                click.echo(f"{delta.position.revision:.0f} {at} {delta.cause}: {_describe(change)}")
    return len(message.deltas.deltas) if kind == "deltas" else 0


def _json_line(message: Any) -> str:
    return json.dumps(MessageToDict(message, preserving_proto_field_name=True))


def _describe(change: Any) -> str:
    kind = change.WhichOneof("change")
    value = getattr(change, kind)
    if kind == "upsert_server":
        state = model_pb2.ServerState.Name(value.state).removeprefix("SERVER_STATE_").lower()
        return (
            f"server {value.name or value.uuid} ({value.uuid}) {state} on {value.hostname or '-'}"
        )
    if kind == "upsert_host":
        status = "enabled" if value.enabled else f"disabled ({value.disabled_reason})"
        return f"host {value.hostname} {'up' if value.up else 'down'}, {status}"
    if kind in {"remove_server", "remove_host"}:
        return f"{kind.replace('_', ' ')} {value}"
    return str(kind).replace("_", " ")


def _snapshot(ch: grpc.Channel) -> ComputeSnapshot:
    stub = model_pb2_grpc.ModelServiceStub(ch)
    messages = stub.GetModel(model_pb2.GetModelRequest(), timeout=TIMEOUT_S)
    return saved_model.model_of(messages).snapshot()


def read(file: Path) -> tuple[ComputeSnapshot, MetricsTable]:
    """A saved model; click.ClickException says what is wrong with the file."""
    try:
        return saved_model.load_model(file)
    except TrimtabError as error:
        raise click.ClickException(error.message) from error


def _print(snapshot: ComputeSnapshot, form: str) -> None:
    used, capacity = snapshot.used(), snapshot.capacity()
    hosts = []
    for i, name in enumerate(snapshot.host_name):
        hosts.append(
            {
                "hostname": name,
                "uuid": snapshot.host_uuid[i],
                "state": "up" if snapshot.host_up[i] else "down",
                "status": "enabled" if snapshot.host_enabled[i] else "disabled",
                "servers": int((snapshot.server_host == i).sum()),
                "vcpus_used": int(used[i, 0]),
                "vcpus_capacity": float(capacity[i, 0]),
                "memory_mib_used": int(used[i, 1]),
                "memory_mib_capacity": float(capacity[i, 1]),
            }
        )
    if form == "json":
        output.print_json(
            {
                "epoch": snapshot.epoch,
                "revision": snapshot.revision,
                "partial": snapshot.partial,
                "servers": snapshot.n_servers,
                "hosts": hosts,
            }
        )
        return
    title = f"{snapshot.n_hosts} hosts, {snapshot.n_servers} servers, revision {snapshot.revision}"
    table = Table(title=title, box=None, padding=(0, 1))
    for heading in ("host", "state", "status", "servers", "memory allocated", ""):
        table.add_column(heading)
    for host in hosts:
        ratio = host["memory_mib_used"] / max(1.0, host["memory_mib_capacity"])  # type: ignore[operator]  # numbers
        table.add_row(
            str(host["hostname"]),
            str(host["state"]),
            str(host["status"]),
            str(host["servers"]),
            picture.bar(ratio),
            f"{ratio:4.0%}",
        )
    output.console.print(table)
