"""AuditService: the typed face of audits."""

from __future__ import annotations

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab_api import audits, idents
from trimtab_api.ports import Deps
from trimtab_api.typed import pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.lifecycle import AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.domain.resources import AUDITS


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Creates, shows and cancels audits."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

    async def CreateAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.CreateAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Stores an audit, PENDING, and wakes decision."""
        await self._gate.check(context, "audit:create")
        draft = audits.AuditDraft(
            audit_type=request.audit_type or AuditType.ONESHOT.value,
            name=request.name or None,
            goal=request.goal or None,
            strategy=request.strategy or None,
            audit_template_uuid=request.audit_template or None,
            interval=request.interval or None,
            parameters=values.plain(request.parameters),
            scope=values.plain(request.scope) if request.HasField("scope") else None,
            auto_trigger=request.auto_trigger,
            force=request.force,
        )
        return message(await audits.create(self._deps, draft))

    async def GetAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.GetAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """One audit."""
        await self._gate.check(context, "audit:get")
        async with self._deps.store.read() as session:
            return message(await session.audits.get(idents.parse(AUDITS, request.audit)))

    async def ListAudits(  # noqa: N802, named by the proto
        self, request: audit_pb2.ListAuditsRequest, context: Context
    ) -> audit_pb2.ListAuditsResponse:
        """A page of audits, newest last."""
        await self._gate.check(context, "audit:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.audits,
                size=request.page_size,
                token=request.page_token,
                max_size=self._deps.settings.max_limit,
                filters={"goal": request.goal},
            )
        return audit_pb2.ListAuditsResponse(
            audits=map(message, page.records), next_page_token=page.next_token
        )

    async def CancelAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.CancelAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Stops an audit that is PENDING or ONGOING."""
        await self._gate.check(context, "audit:update")
        return message(await audits.cancel(self._deps, request.audit))


def message(audit: Audit) -> audit_pb2.Audit:
    """The message of an audit."""
    return audit_pb2.Audit(
        uuid=audit.uuid,
        name=audit.name,
        audit_type=audit.audit_type.value,
        state=audit.state.value,
        goal=audit.goal_name,
        strategy=audit.strategy_name or "",
        parameters=values.struct(audit.parameters),
        interval=audit.interval or "",
        scope=values.list_value(audit.scope),
        auto_trigger=audit.auto_trigger,
        force=audit.force,
        hostname=audit.hostname or "",
        status_message=audit.status_message or "",
        created_at=values.timestamp(audit.created_at),
        updated_at=values.timestamp(audit.updated_at),
        next_run_at=values.timestamp(audit.next_run_time),
    )
