"""`trimtab demo`: one consolidation of the fake cloud, from POST to SUCCEEDED, as an operator sees it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from trimtab_cli import picture
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.ports import Ports
from trimtab_cli.rest import RestClient, RestError
from trimtab_cli.system import running

AUDIT_TIMEOUT_S = 60.0
PLAN_TIMEOUT_S = 180.0
MODEL_TIMEOUT_S = 30.0
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SUSPENDED", "SUPERSEDED"})


def demo(*, ports: Ports, hosts: int, servers: int, seed: int, console: Console) -> int:
    """Runs it and gives the exit code: 0 when the plan SUCCEEDED and hosts were freed."""
    with tempfile.TemporaryDirectory(prefix="trimtab-demo-") as state:
        spec = SystemSpec(
            state_dir=Path(state),
            ports=ports,
            fakecloud_args=(
                *("--hosts", str(hosts), "--servers", str(servers), "--seed", str(seed)),
                *("--migration-seconds", "0.3"),
            ),
        )
        console.rule("Trimtab demo: consolidate a cloud")
        with running(spec, say=console.print) as system:
            console.print(f"REST and gRPC through Envoy: {system.url}")
            client = RestClient(system.url)
            try:
                return _consolidate(client, console)
            finally:
                client.close()


def _consolidate(client: RestClient, console: Console) -> int:
    before = _hosts(client)
    console.print(picture.table(before, title="Before"))
    audit = client.post(
        "/v1/audits",
        {
            "audit_type": "ONESHOT",
            "goal": "server_consolidation",
            "strategy": "vm_workload_consolidation",
        },
    )
    console.print(f"POST /v1/audits → {audit['state']}: [bold]{audit['name']}[/]")
    path = f"/v1/audits/{audit['uuid']}"
    audit = client.wait(path, lambda a: a["state"] in ENDED, timeout_s=AUDIT_TIMEOUT_S)
    if audit["state"] != "SUCCEEDED":
        raise RestError(f"the audit ended {audit['state']}: {audit['status_message']}")
    plan = client.get(f"/v1/action_plans/detail?audit_uuid={audit['uuid']}")["action_plans"][0]
    _show_plan(client, plan, console)
    client.post(f"/v1/action_plans/{plan['uuid']}/start")
    plan = _follow(client, plan["uuid"], console)
    after = _await_model(client, plan)
    console.print(picture.table(before, after, title="Before → after"))
    freed = sum(1 for h in after if not h.servers) - sum(1 for h in before if not h.servers)
    console.print(
        f"[bold green]Plan {plan['state']}[/]: {freed} hosts freed"
        if plan["state"] == "SUCCEEDED"
        else f"[bold red]Plan {plan['state']}[/]: {plan['status_message']}"
    )
    return 0 if plan["state"] == "SUCCEEDED" and freed > 0 else 1


def _hosts(client: RestClient) -> list[picture.HostPicture]:
    model = client.wait("/v1/data_model", lambda m: bool(m["context"]), timeout_s=MODEL_TIMEOUT_S)
    return picture.hosts_of(model["context"])


def _await_model(client: RestClient, plan: dict[str, Any]) -> list[picture.HostPicture]:
    """The hosts once the model has seen every move of the plan."""
    moves = {
        action["input_parameters"]["resource_id"]: action["input_parameters"]["destination_node"]
        for action in _actions(client, plan["uuid"])
        if action["action_type"] == "migrate" and action["state"] == "SUCCEEDED"
    }

    def arrived(model: dict[str, Any]) -> bool:
        where = {
            r["server_uuid"]: r["node_hostname"] for r in model["context"] if r.get("server_uuid")
        }
        return all(where.get(server) == host for server, host in moves.items())

    model = client.wait("/v1/data_model", arrived, timeout_s=MODEL_TIMEOUT_S)
    return picture.hosts_of(model["context"])


def _actions(client: RestClient, plan_uuid: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path: str | None = f"/v1/actions/detail?action_plan_uuid={plan_uuid}"
    while path:
        page = client.get(path)
        found += page["actions"]
        path = page.get("next")
    return found


def _show_plan(client: RestClient, plan: dict[str, Any], console: Console) -> None:
    actions = client.get(f"/trimtab/v1/action_plans/{plan['uuid']}/actions")["actions"]
    table = Table(title=f"Plan {plan['uuid']}: {len(actions)} actions", box=None, padding=(0, 1))
    for heading in ("action", "what", "why"):
        table.add_column(heading)
    for action in actions:
        table.add_row(action["action_type"], _what(action), action.get("reason") or "")
    console.print(table)
    for efficacy in plan["global_efficacy"]:
        console.print(f"{efficacy['description']}: {efficacy['value']:.1f} {efficacy['unit']}")


def _what(action: dict[str, Any]) -> str:
    given = action["input_parameters"]
    if action["action_type"] == "migrate":
        target = given.get("destination_node") or "where Nova chooses"
        return f"{given['resource_name']}: {given['source_node']} → {target}"
    if action["action_type"] == "change_nova_service_state":
        return f"{given['resource_name']}: {given['state']}"
    return str(given)


def _follow(client: RestClient, uuid: str, console: Console) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=False) as progress:
        task = progress.add_task("carrying out", total=len(_actions(client, uuid)))

        def seen(plan: dict[str, Any]) -> None:
            done = sum(
                1 for a in _actions(client, uuid) if a["state"] not in {"PENDING", "ONGOING"}
            )
            progress.update(task, completed=done, description=plan["state"])

        plan: dict[str, Any] = client.wait(
            f"/v1/action_plans/{uuid}",
            lambda p: p["state"] in ENDED,
            timeout_s=PLAN_TIMEOUT_S,
            seen=seen,
        )
    return plan
