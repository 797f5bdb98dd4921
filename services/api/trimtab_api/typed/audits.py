"""AuditService: the typed face of audits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from google.protobuf.empty_pb2 import Empty

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab_api import audits, estimates, idents
from trimtab_api.ports import Deps
from trimtab_api.typed import etags, filters, masks, once, pages, values
from trimtab_api.typed.audit_watch import AuditWatch
from trimtab_api.typed.gate import Context, Gate
from trimtab_api.typed.watching import Watches
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.domain.resources import AUDITS

CHANGEABLE = {
    filters.typed_name(AUDITS, name): name for name in sorted(AUDITS.patchable - {"state"})
}
"""Field of the message -> field of the description. The state has verbs of its own."""


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """Creates, shows, changes, follows and ends audits."""

    def __init__(self, deps: Deps, gate: Gate, watches: Watches) -> None:
        self._deps = deps
        self._gate = gate
        self._watches = watches
        self._estimates = estimates.AuditEstimates(deps.store, deps.clock)

    async def CreateAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.CreateAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Stores an audit, PENDING, and wakes decision; once."""
        identity = await self._gate.check(context, "audit:create")
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
            start_time=_moment(request, "start_at"),
            end_time=_moment(request, "end_at"),
        )
        return await once.create(
            self._deps.store,
            identity,
            request,
            answer=audit_pb2.Audit,
            message=message,
            make=lambda also: audits.create(self._deps, draft, also=also),
        )

    async def GetAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.GetAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """One audit."""
        await self._gate.check(context, "audit:get")
        async with self._deps.store.read() as session:
            audit = await session.audits.get(idents.parse(AUDITS, request.audit))
        return message(audit, await self._estimates.end_of(audit))

    async def ListAudits(  # noqa: N802, named by the proto
        self, request: audit_pb2.ListAuditsRequest, context: Context
    ) -> audit_pb2.ListAuditsResponse:
        """A page of audits."""
        await self._gate.check(context, "audit:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.audits,
                AUDITS,
                request,
                max_size=self._deps.settings.max_limit,
                also={"goal": request.goal, "strategy": request.strategy},
            )
        return audit_pb2.ListAuditsResponse(
            audits=map(message, page.records), next_page_token=page.next_token
        )

    async def UpdateAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.UpdateAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Changes the fields of the mask."""
        await self._gate.check(context, "audit:update")
        fields = masks.changed(request.audit, request.update_mask, CHANGEABLE)
        changes = {CHANGEABLE[name]: _change(request.audit, name) for name in fields}
        guard = etags.guard(request.audit.etag, context)
        return message(await audits.update(self._deps, request.audit.uuid, changes, guard=guard))

    async def DeleteAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.DeleteAuditRequest, context: Context
    ) -> Empty:
        """Hides an audit that does not run."""
        await self._gate.check(context, "audit:delete")
        await audits.delete(self._deps, request.audit, guard=etags.guard(request.etag, context))
        return Empty()

    async def CancelAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.CancelAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Stops an audit that is PENDING or ONGOING."""
        return await self._move(request, context, AuditState.CANCELLED)

    async def SuspendAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.SuspendAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Lets an ONGOING audit rest."""
        return await self._move(request, context, AuditState.SUSPENDED)

    async def ResumeAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.ResumeAuditRequest, context: Context
    ) -> audit_pb2.Audit:
        """Moves a SUSPENDED audit back to ONGOING."""
        return await self._move(request, context, AuditState.ONGOING, source=AuditState.SUSPENDED)

    async def TriggerAudit(  # noqa: N802, named by the proto
        self, request: audit_pb2.TriggerAuditRequest, context: Context
    ) -> Empty:
        """Asks for a run of an EVENT audit (A-073)."""
        await self._gate.check(context, "webhook:trigger")
        await audits.trigger(self._deps, request.audit)
        return Empty()

    async def WatchAudits(  # noqa: N802, named by the proto
        self, request: audit_pb2.WatchAuditsRequest, context: Context
    ) -> AsyncIterator[audit_pb2.WatchAuditsResponse]:
        """Audits as they are, then as they change."""
        watch = AuditWatch(self._deps, request, message, self._estimates.end_of)
        async for response in self._watches.run(watch, context, "audit:get_all"):
            yield response

    async def _move(
        self, request: Any, context: Context, to: AuditState, *, source: AuditState | None = None
    ) -> audit_pb2.Audit:
        await self._gate.check(context, "audit:update")
        etag = etags.guard(request.etag, context)

        def guard(audit: Audit) -> None:
            etag(audit)
            if source is not None and audit.state is not source:
                raise audits.refused(audit, to.value)

        return message(await audits.set_state(self._deps, request.audit, to, guard=guard))


def _moment(given: Any, name: str) -> datetime | None:
    return values.moment(getattr(given, name)) if given.HasField(name) else None


def _change(given: audit_pb2.Audit, name: str) -> Any:
    """The new value; None empties a field that may be empty."""
    if name in ("start_at", "end_at"):
        return _moment(given, name)
    if name in ("parameters", "scope"):
        return values.plain(getattr(given, name))
    if name in ("auto_trigger", "force"):
        return getattr(given, name)
    text: str = getattr(given, name)
    return text or None if name in AUDITS.removable else text


def message(audit: Audit, expected_end_at: datetime | None = None) -> audit_pb2.Audit:
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
        goal_uuid=audit.goal_uuid,
        strategy_uuid=audit.strategy_uuid or "",
        start_at=values.timestamp(audit.start_time),
        end_at=values.timestamp(audit.end_time),
        etag=etags.of(audit),
        expected_end_at=values.timestamp(expected_end_at),
    )
