"""`trimtab plan`: list, show, start and cancel action plans over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import grpc
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_cli import explanations, following, output
from trimtab_cli.grpc_client import TIMEOUT_S, channel

COLUMNS = ("uuid", "state", "audit", "strategy", "global_efficacy", "status_message")
ACTION_COLUMNS = ("action_type", "state", "input_parameters", "reason", "status_message")
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"})
RUNNING_STATES = frozenset({"PENDING", "ONGOING", "CANCELLING"})


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
    explanation = dict(output.as_dict(plan)["explanation"])
    plan.ClearField("explanation")
    output.print_one(plan, form)
    explanations.show(explanation)
    output.print_rows(actions, ACTION_COLUMNS, form)


@group.command("start")
@click.argument("uuid")
@click.option("--watch", "-w", is_flag=True, help="Follow it to its end.")
@output.format_option
@click.pass_obj
def start(obj: Any, /, *, uuid: str, watch: bool, form: str) -> None:
    """Start a RECOMMENDED plan."""
    with channel(obj.address, obj.token, obj.renew) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        request = plan_pb2.StartActionPlanRequest(action_plan=uuid)
        plan = stub.StartActionPlan(request, timeout=TIMEOUT_S)
        if watch:
            plan = _follow(obj, plan.uuid)
        output.print_one(plan, form)
    if watch and plan.state != "SUCCEEDED":
        raise SystemExit(1)


@group.command("watch")
@click.argument("uuids", nargs=-1)
@click.option("--audit", default="", help="Only plans of this audit.")
@click.option("--all", "everything", is_flag=True, help="Begin with those that have ended, too.")
@click.option("--progress", "bar", is_flag=True, help="A bar for one plan until it has ended.")
@output.format_option
@click.pass_obj
def watch(
    obj: Any, /, *, uuids: tuple[str, ...], audit: str, everything: bool, bar: bool, form: str
) -> None:
    """Print plans as they change; with uuids until all of those have ended."""
    if bar:
        if len(uuids) != 1:
            raise click.UsageError("--progress needs the uuid of one plan.")
        output.print_one(_follow(obj, uuids[0]), form)
        return
    ended: set[str] = set()
    total = 0
    active_only = not (everything or uuids)
    for message in _messages(obj, action_plans=uuids, audit=audit, active_only=active_only):
        total = message.end.count or total
        plan = following.shown(message, "action_plan")
        if plan is not None:
            output.print_event(message, plan, form, ("progress", "status_message"))
            (ended.add if plan.state in ENDED else ended.discard)(plan.uuid)
        if uuids and total and len(ended) >= total:
            return


@group.command("rollback")
@click.argument("uuid")
@click.option("--action", "actions", multiple=True, help="Only this action; may be repeated.")
@click.option("--watch", "-w", "follow", is_flag=True, help="Follow the new plan to its end.")
@output.format_option
@click.pass_obj
def rollback(obj: Any, /, *, uuid: str, actions: tuple[str, ...], follow: bool, form: str) -> None:
    """Undo what a plan did, by a new plan that is started at once."""
    with channel(obj.address, obj.token) as ch:
        stub = plan_pb2_grpc.PlanServiceStub(ch)
        request = plan_pb2.RollbackActionPlanRequest(action_plan=uuid, actions=actions)
        answer = stub.RollbackActionPlan(request, timeout=TIMEOUT_S)
    if form == "json":
        output.print_one(answer, form)
    else:
        output.print_rows(answer.results, ("action", "inverse", "problem"), form)
        output.print_one(answer.action_plan, form)
    if follow and _follow(obj, answer.action_plan.uuid).state != "SUCCEEDED":
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


def _messages(obj: Any, **wanted: Any) -> Iterator[Any]:
    def opened(ch: grpc.Channel, place: str, call: dict[str, Any]) -> Iterator[Any]:
        request = plan_pb2.WatchActionPlansRequest(resume_token=place, **wanted)
        return iter(plan_pb2_grpc.PlanServiceStub(ch).WatchActionPlans(request, **call))

    return following.messages(obj, opened)


def _follow(obj: Any, uuid: str) -> Any:
    """The plan when it has ended; a bar meanwhile."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=output.console
    ) as progress:
        task = progress.add_task("", total=None, left="")
        for message in _messages(obj, action_plans=[uuid]):
            plan = following.shown(message, "action_plan")
            if plan is None:
                continue
            done = sum(n for state, n in plan.progress.items() if state not in RUNNING_STATES)
            total = max(1, sum(plan.progress.values()))
            progress.update(
                task, completed=done, total=total, description=plan.state, left=_left(plan)
            )
            if plan.state in ENDED:
                return plan
    raise click.ClickException(f"plan {uuid} can no longer be followed")


def _left(plan: Any) -> str:
    if not plan.HasField("expected_end_at"):
        return ""
    return f"until {plan.expected_end_at.ToDatetime():%H:%M:%S} UTC?"
