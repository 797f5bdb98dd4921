"""`trimtab audit`: create, list, show and cancel audits over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import grpc

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab_cli import following, output, parameters
from trimtab_cli.grpc_client import TIMEOUT_S, channel

COLUMNS = ("uuid", "name", "audit_type", "state", "goal", "strategy", "status_message")
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SUSPENDED"})


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
    with channel(obj.address, obj.token, obj.renew) as ch:
        stub = audit_pb2_grpc.AuditServiceStub(ch)
        audit = stub.CreateAudit(request, timeout=TIMEOUT_S)
        if watch and kind == "ONESHOT":
            audit = _wait(obj, audit.uuid, tell=form == "table")
        output.print_one(audit, form)
        if watch and audit.state == "SUCCEEDED" and form == "table":
            plans = plan_pb2_grpc.PlanServiceStub(ch).ListActionPlans(
                plan_pb2.ListActionPlansRequest(audit=audit.uuid), timeout=TIMEOUT_S
            )
            output.print_rows(plans.action_plans, ("uuid", "state", "global_efficacy"), form)
    if watch and audit.state == "FAILED":
        raise SystemExit(1)


def _messages(obj: Any, **wanted: Any) -> Iterator[Any]:
    def opened(ch: grpc.Channel, place: str, call: dict[str, Any]) -> Iterator[Any]:
        request = audit_pb2.WatchAuditsRequest(resume_token=place, **wanted)
        return iter(audit_pb2_grpc.AuditServiceStub(ch).WatchAudits(request, **call))

    return following.messages(obj, opened)


def _wait(obj: Any, uuid: str, *, tell: bool) -> Any:
    """The audit when it has ended. `tell`: says on stderr how a long search goes on."""
    for message in _messages(obj, audits=[uuid]):
        if tell and message.HasField("change") and (text := output.search_text(message.change)):
            click.echo(text, err=True)
        audit = following.shown(message, "audit")
        if audit is not None and audit.state in ENDED:
            return audit
    raise click.ClickException(f"audit {uuid} can no longer be followed")


@group.command("watch")
@click.argument("audits", nargs=-1)
@click.option("--goal", "-g", default="", help="Only audits of this goal.")
@click.option("--all", "everything", is_flag=True, help="Begin with those that have ended, too.")
@output.format_option
@click.pass_obj
def watch(obj: Any, /, *, audits: tuple[str, ...], goal: str, everything: bool, form: str) -> None:
    """Print audits as they change; with names or uuids until all of those have ended."""
    ended: set[str] = set()
    total = 0
    active_only = not (everything or audits)
    for message in _messages(obj, audits=audits, goal=goal, active_only=active_only):
        total = message.end.count or total
        audit = following.shown(message, "audit")
        if audit is not None:
            output.print_event(message, audit, form, ("name", "status_message"))
            (ended.add if audit.state in ENDED else ended.discard)(audit.uuid)
        if audits and total and len(ended) >= total:
            return


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
