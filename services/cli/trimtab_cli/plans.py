"""`trimtab plan`: list, show, start and cancel action plans over gRPC."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_cli import output
from trimtab_cli.grpc_client import TIMEOUT_S, channel

COLUMNS = ("uuid", "state", "audit", "strategy", "global_efficacy", "status_message")
ACTION_COLUMNS = ("action_type", "state", "input_parameters", "reason", "status_message")
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"})
RUNNING_STATES = frozenset({"PENDING", "ONGOING", "CANCELLING"})
POLL_S = 0.3
WATCH_LIMIT_S = 24 * 3600.0


@click.group("plan")
def group() -> None:
    """The moves that audits recommend."""


@group.command("list")
@click.option("--audit", default="", help="Only plans of this audit (uuid).")
@output.format_option
@click.pass_obj
def list_(obj: Any, audit: str, form: str) -> None:
    """List action plans."""
    with channel(obj.address, obj.token) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        plans: list[Any] = []
        request = plan_pb2.ListActionPlansRequest(audit=audit)
        while True:
            page = stub.ListActionPlans(request, timeout=TIMEOUT_S)
            plans += page.action_plans
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        output.print_rows(plans, COLUMNS, form)


@group.command("show")
@click.argument("uuid")
@output.format_option
@click.pass_obj
def show(obj: Any, uuid: str, form: str) -> None:
    """Show a plan with its actions and the reason of each."""
    with channel(obj.address, obj.token) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        plan = stub.GetActionPlan(
            plan_pb2.GetActionPlanRequest(action_plan=uuid), timeout=TIMEOUT_S
        )
        actions = _actions(stub, uuid)
    if form == "json":
        output.print_json(
            {**output.as_dict(plan), "actions": [output.as_dict(action) for action in actions]}
        )
        return
    output.print_one(plan, form)
    output.print_rows(actions, ACTION_COLUMNS, form)


@group.command("start")
@click.argument("uuid")
@click.option("--watch", "-w", is_flag=True, help="Follow it to its end.")
@output.format_option
@click.pass_obj
def start(obj: Any, /, *, uuid: str, watch: bool, form: str) -> None:
    """Start a RECOMMENDED plan."""
    with channel(obj.address, obj.token) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        request = plan_pb2.StartActionPlanRequest(action_plan=uuid)
        plan = stub.StartActionPlan(request, timeout=TIMEOUT_S)
        if watch:
            plan = _follow(stub, plan)
        output.print_one(plan, form)
    if watch and plan.state != "SUCCEEDED":
        raise SystemExit(1)


@group.command("cancel")
@click.argument("uuid")
@output.format_option
@click.pass_obj
def cancel(obj: Any, uuid: str, form: str) -> None:
    """Cancel a plan; actions in flight are aborted where Nova can."""
    with channel(obj.address, obj.token) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        request = plan_pb2.CancelActionPlanRequest(action_plan=uuid)
        output.print_one(stub.CancelActionPlan(request, timeout=TIMEOUT_S), form)


def _actions(stub: Any, uuid: str) -> list[Any]:
    actions: list[Any] = []
    request = plan_pb2.ListActionsRequest(action_plan=uuid)
    while True:
        page = stub.ListActions(request, timeout=TIMEOUT_S)
        actions += page.actions
        if not page.next_page_token:
            return actions
        request.page_token = page.next_page_token


def _follow(stub: Any, plan: Any) -> Any:
    request = plan_pb2.GetActionPlanRequest(action_plan=plan.uuid)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    deadline = time.monotonic() + WATCH_LIMIT_S
    with Progress(*columns, TimeElapsedColumn(), console=output.console) as progress:
        task = progress.add_task(plan.state, total=max(1, sum(plan.progress.values())))
        while plan.state not in ENDED and time.monotonic() < deadline:
            time.sleep(POLL_S)
            plan = stub.GetActionPlan(request, timeout=TIMEOUT_S)
            done = sum(n for state, n in plan.progress.items() if state not in RUNNING_STATES)
            progress.update(task, completed=done, description=plan.state)
    return plan
