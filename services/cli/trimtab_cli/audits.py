"""`trimtab audit`: create, list, show and cancel audits over gRPC."""

from __future__ import annotations

import time
from typing import Any

import click

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_cli import output, parameters
from trimtab_cli.grpc_client import TIMEOUT_S, channel

COLUMNS = ("uuid", "name", "audit_type", "state", "goal", "strategy", "status_message")
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SUSPENDED"})
WATCH_POLL_S = 0.2
WATCH_LIMIT_S = 3600.0


@click.group("audit")
def group() -> None:
    """Questions put to the cloud."""


@group.command("create")
@click.option("--goal", "-g", required=True, help="Goal, by name or uuid.")
@click.option("--strategy", "-s", default="", help="Strategy; default: the goal's first.")
@click.option("--name", default="", help="Default: strategy or goal name and the time.")
@click.option("-p", "pairs", multiple=True, metavar="NAME=VALUE", help="Strategy parameter.")
@click.option(
    "--type", "kind", default="ONESHOT", type=click.Choice(["ONESHOT", "CONTINUOUS", "EVENT"])
)
@click.option("--interval", "-i", default="", help="Seconds or cron text, for CONTINUOUS.")
@click.option("--auto-trigger", is_flag=True, help="Start the plan without asking.")
@click.option("--force", is_flag=True, help="Run although another plan is under way.")
@click.option("--watch", "-w", is_flag=True, help="Wait for the end and show the plan.")
@output.format_option
@click.pass_obj
def create(
    obj: Any, /, *, pairs: tuple[str, ...], watch: bool, form: str, kind: str, **fields: Any
) -> None:
    """Create an audit."""
    request = audit_pb2.CreateAuditRequest(audit_type=kind, **fields)
    request.parameters.update(parameters.parse(pairs))
    with channel(obj.address, obj.token) as ch:
        stub = audit_pb2_grpc.AuditServiceStub(ch)
        audit = stub.CreateAudit(request, timeout=TIMEOUT_S)
        if watch and kind == "ONESHOT":
            audit = _wait(stub, audit.uuid)
        output.print_one(audit, form)
        if watch and audit.state == "SUCCEEDED" and form == "table":
            plans = plan_pb2_grpc.PlanServiceStub(ch).ListActionPlans(
                plan_pb2.ListActionPlansRequest(audit=audit.uuid), timeout=TIMEOUT_S
            )
            output.print_rows(plans.action_plans, ("uuid", "state", "global_efficacy"), form)
    if watch and audit.state == "FAILED":
        raise SystemExit(1)


def _wait(stub: Any, uuid: str) -> Any:
    deadline = time.monotonic() + WATCH_LIMIT_S
    while time.monotonic() < deadline:
        audit = stub.GetAudit(audit_pb2.GetAuditRequest(audit=uuid), timeout=TIMEOUT_S)
        if audit.state in ENDED:
            return audit
        time.sleep(WATCH_POLL_S)
    raise click.ClickException(f"audit {uuid} did not end within {WATCH_LIMIT_S:.0f} s")


@group.command("list")
@click.option("--goal", "-g", default="", help="Only audits of this goal.")
@output.format_option
@click.pass_obj
def list_(obj: Any, goal: str, form: str) -> None:
    """List all audits."""
    with channel(obj.address, obj.token) as ch:
        stub = audit_pb2_grpc.AuditServiceStub(ch)
        audits: list[Any] = []
        request = audit_pb2.ListAuditsRequest(goal=goal)
        while True:
            page = stub.ListAudits(request, timeout=TIMEOUT_S)
            audits += page.audits
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        output.print_rows(audits, COLUMNS, form)


@group.command("show")
@click.argument("audit")
@output.format_option
@click.pass_obj
def show(obj: Any, audit: str, form: str) -> None:
    """Show one audit, by uuid or name."""
    with channel(obj.address, obj.token) as ch:
        stub = audit_pb2_grpc.AuditServiceStub(ch)
        found = stub.GetAudit(audit_pb2.GetAuditRequest(audit=audit), timeout=TIMEOUT_S)
        output.print_one(found, form)


@group.command("cancel")
@click.argument("audit")
@output.format_option
@click.pass_obj
def cancel(obj: Any, audit: str, form: str) -> None:
    """Cancel an audit that has not ended."""
    with channel(obj.address, obj.token) as ch:
        stub = audit_pb2_grpc.AuditServiceStub(ch)
        ended = stub.CancelAudit(audit_pb2.CancelAuditRequest(audit=audit), timeout=TIMEOUT_S)
        output.print_one(ended, form)
