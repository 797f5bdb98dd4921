"""AuditTemplateService: the typed face of audit templates."""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from trimtab.audit.v1 import audit_template_pb2 as pb
from trimtab.audit.v1 import audit_template_pb2_grpc
from trimtab_api import audit_templates, idents
from trimtab_api.ports import Deps
from trimtab_api.typed import etags, masks, once, pages, values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.domain.records import AuditTemplate
from trimtab_common.domain.resources import AUDIT_TEMPLATES


class AuditTemplateService(audit_template_pb2_grpc.AuditTemplateServiceServicer):
    """Creates, shows, changes and deletes templates."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

    async def ListAuditTemplates(  # noqa: N802, named by the proto
        self, request: pb.ListAuditTemplatesRequest, context: Context
    ) -> pb.ListAuditTemplatesResponse:
        """A page of templates."""
        await self._gate.check(context, "audit_template:get_all")
        async with self._deps.store.read() as session:
            page = await pages.read(
                session.audit_templates,
                AUDIT_TEMPLATES,
                request,
                max_size=self._deps.settings.max_limit,
                also={"goal": request.goal, "strategy": request.strategy},
            )
        return pb.ListAuditTemplatesResponse(
            audit_templates=map(message, page.records), next_page_token=page.next_token
        )

    async def GetAuditTemplate(  # noqa: N802, named by the proto
        self, request: pb.GetAuditTemplateRequest, context: Context
    ) -> pb.AuditTemplate:
        """One template."""
        await self._gate.check(context, "audit_template:get")
        async with self._deps.store.read() as session:
            ident = idents.parse(AUDIT_TEMPLATES, request.audit_template)
            return message(await session.audit_templates.get(ident))

    async def CreateAuditTemplate(  # noqa: N802, named by the proto
        self, request: pb.CreateAuditTemplateRequest, context: Context
    ) -> pb.AuditTemplate:
        """Stores a template, once."""
        identity = await self._gate.check(context, "audit_template:create")
        given = request.audit_template
        draft = audit_templates.TemplateDraft(
            name=given.name,
            goal=given.goal or None,
            strategy=given.strategy or None,
            description=given.description or None,
            scope=values.plain(given.scope),
            default_parameters=values.plain(given.default_parameters),
        )
        return await once.create(
            self._deps.store,
            identity,
            request,
            answer=pb.AuditTemplate,
            message=message,
            make=lambda also: audit_templates.create(self._deps, draft, also=also),
        )

    async def UpdateAuditTemplate(  # noqa: N802, named by the proto
        self, request: pb.UpdateAuditTemplateRequest, context: Context
    ) -> pb.AuditTemplate:
        """Changes the fields of the mask."""
        await self._gate.check(context, "audit_template:update")
        given = request.audit_template
        fields = masks.changed(given, request.update_mask, AUDIT_TEMPLATES.patchable)
        changes = {name: _change(given, name) for name in fields}
        guard = etags.guard(given.etag, context)
        return message(await audit_templates.update(self._deps, given.uuid, changes, guard=guard))

    async def DeleteAuditTemplate(  # noqa: N802, named by the proto
        self, request: pb.DeleteAuditTemplateRequest, context: Context
    ) -> Empty:
        """Hides a template."""
        await self._gate.check(context, "audit_template:delete")
        guard = etags.guard(request.etag, context)
        await audit_templates.delete(self._deps, request.audit_template, guard=guard)
        return Empty()


def _change(given: pb.AuditTemplate, name: str) -> Any:
    """The new value; None empties a field that may be empty."""
    if name == "scope":
        return values.plain(given.scope)
    if name == "default_parameters":
        return values.plain(given.default_parameters) or None
    text: str = getattr(given, name)
    return text or None if name in AUDIT_TEMPLATES.removable else text


def message(template: AuditTemplate) -> pb.AuditTemplate:
    """The message of a template."""
    return pb.AuditTemplate(
        uuid=template.uuid,
        name=template.name,
        goal=template.goal_name,
        strategy=template.strategy_name or "",
        goal_uuid=template.goal_uuid,
        strategy_uuid=template.strategy_uuid or "",
        description=template.description or "",
        scope=values.list_value(template.scope),
        default_parameters=values.struct(template.default_parameters),
        created_at=values.timestamp(template.created_at),
        updated_at=values.timestamp(template.updated_at),
        etag=etags.of(template),
    )
