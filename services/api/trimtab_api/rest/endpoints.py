"""The endpoints that do more than show: create, change, start, delete, trigger (A §2)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trimtab_api import (
    action_plans,
    actions,
    audit_templates,
    audits,
    data_model,
    element_models,
    idents,
)
from trimtab_api.rest import bodies, patches, render, versions
from trimtab_api.rest.call import JSON, Call, created, empty, ok
from trimtab_api.rest.collections import shown
from trimtab_api.rest.request import RestResponse
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.resources import (
    ACTION_PLANS,
    ACTIONS,
    AUDIT_TEMPLATES,
    AUDITS,
    STRATEGIES,
    Kept,
    Resource,
    Since,
)
from trimtab_common.domain.snapshot import ComputeSnapshot

Json = Any
NAME_ROW = "Name"


async def strategy_state(call: Call) -> RestResponse:
    """GET /v1/strategies/{ident}/state: a bare array of requirements (A-041)."""
    async with call.deps.store.read() as session:
        strategy = await session.strategies.get(
            idents.parse(STRATEGIES, call.ident), show_deleted=call.show_deleted
        )
    rows = await call.deps.strategy_states.state_of(strategy.name)
    return ok(
        [
            {
                "type": row.type,
                "state": row.state,
                "mandatory": "" if row.type == NAME_ROW else row.mandatory,
                "comment": row.comment,
            }
            for row in rows
        ]
    )


async def create_audit_template(call: Call) -> RestResponse:
    """POST /v1/audit_templates."""
    members = bodies.created(AUDIT_TEMPLATES, call.request.body, minor=call.minor)
    template = await audit_templates.create(call.deps, audit_templates.TemplateDraft(**members))
    return await _created(call, AUDIT_TEMPLATES, template)


async def update_audit_template(call: Call) -> RestResponse:
    """PATCH /v1/audit_templates/{ident}."""
    changes = await _changes(call, AUDIT_TEMPLATES)
    template = await audit_templates.update(call.deps, call.ident, changes)
    return ok(await shown(call, AUDIT_TEMPLATES, template))


async def delete_audit_template(call: Call) -> RestResponse:
    """DELETE /v1/audit_templates/{ident}."""
    await audit_templates.delete(call.deps, call.ident)
    return empty(204)


async def create_audit(call: Call) -> RestResponse:
    """POST /v1/audits."""
    members = bodies.created(AUDITS, call.request.body, minor=call.minor)
    audit = await audits.create(call.deps, audits.AuditDraft(**members))
    return await _created(call, AUDITS, audit)


async def update_audit(call: Call) -> RestResponse:
    """PATCH /v1/audits/{ident}."""
    audit = await audits.update(call.deps, call.ident, await _changes(call, AUDITS))
    return ok(await shown(call, AUDITS, audit))


async def delete_audit(call: Call) -> RestResponse:
    """DELETE /v1/audits/{ident}."""
    await audits.delete(call.deps, call.ident)
    return empty(204)


async def update_action_plan(call: Call) -> RestResponse:
    """PATCH /v1/action_plans/{ident}: the state only."""
    state = (await _changes(call, ACTION_PLANS)).get("state")
    if state is None:
        raise InvalidArgument("A patch of an action plan must replace '/state'.")
    plan = await action_plans.set_state(call.deps, call.ident, state)
    return ok(await shown(call, ACTION_PLANS, plan))


async def start_action_plan(call: Call) -> RestResponse:
    """POST /v1/action_plans/{ident}/start; the body does not matter (A-009)."""
    plan = await action_plans.start(call.deps, call.ident)
    return ok(await shown(call, ACTION_PLANS, plan))


async def roll_back_action_plan(call: Call) -> RestResponse:
    """POST /v1/action_plans/{ident}/rollback, from 1.8 on: the new plan and a report (A-076)."""
    versions.require(call.minor, Since.ROLLBACK)
    actions = bodies.list_of_texts(call.request.body, "actions")
    plan, report = await action_plans.roll_back(call.deps, call.ident, actions)
    return ok({**await shown(call, ACTION_PLANS, plan), "results": [asdict(one) for one in report]})


async def delete_action_plan(call: Call) -> RestResponse:
    """DELETE /v1/action_plans/{ident}."""
    await action_plans.delete(call.deps, call.ident)
    return empty(204)


async def update_action(call: Call) -> RestResponse:
    """PATCH /v1/actions/{ident}: skip it, or say why it was skipped (A-066)."""
    if call.minor < ACTIONS.patch_since:
        raise versions.MicroversionTooLow(
            f"API microversion 1.{ACTIONS.patch_since} or higher is required."
        )
    changes = await _changes(call, ACTIONS)
    action = await actions.skip(
        call.deps,
        call.ident,
        state=changes.get("state"),
        message=changes.get("status_message"),
    )
    return ok(await shown(call, ACTIONS, action))


async def trigger_webhook(call: Call) -> RestResponse:
    """POST /v1/webhooks/{ident}: any body, 202 (A-073)."""
    await audits.trigger(call.deps, call.ident)
    return empty(202)


async def get_data_model(call: Call) -> RestResponse:
    """GET /v1/data_model, from 1.3 on (A-070)."""
    versions.require(call.minor, Since.DATA_MODEL)
    kind = call.query.get("data_model_type", call.query.get("type", "compute"))
    audit = call.query.get("audit_uuid", call.query.get("audit"))
    if kind in element_models.KINDS and call.minor >= Since.DATA_MODEL_KINDS:
        scope = await data_model.scope_of(call.deps, audit)
        elements = await call.deps.models.elements(kind, scope)
        chunks = await asyncio.to_thread(_element_model_body, kind, elements)
        return RestResponse(status=200, headers=(JSON,), chunks=chunks)
    if kind != "compute":
        raise NotFound(f"The data model {kind} could not be found.")
    snapshot = await data_model.of_audit(call.deps, audit)
    chunks = await asyncio.to_thread(_data_model_body, snapshot, call.minor)
    return RestResponse(status=200, headers=(JSON,), chunks=chunks)


def _element_model_body(kind: str, snapshot: ElementSnapshot | None) -> tuple[bytes, ...]:
    """In a thread, as the next one."""
    return render.chunked(element_models.body(kind, snapshot))


def _data_model_body(snapshot: ComputeSnapshot | None, minor: int) -> tuple[bytes, ...]:
    """In a thread: a row for each of 200,000 servers takes a second."""
    return render.chunked(
        data_model.body(
            snapshot,
            with_extended=minor >= Since.DATA_MODEL_EXTENDED,
            with_unmapped=minor >= Since.UNMAPPED_SERVERS,
        )
    )


async def _created(call: Call, resource: Resource, record: Any) -> RestResponse:
    return created(
        await shown(call, resource, record),
        collection=resource.plural,
        ident=record.uuid,
        links=call.links,
    )


async def _changes(call: Call, resource: Resource) -> Mapping[str, Json]:
    """The members that the patch in the body sets; NotFound before anything else."""
    operations = patches.parse(call.request.body)
    async with call.deps.store.read() as session:
        record = await session.table(resource).get(idents.parse(resource, call.ident))
    return patches.changes(resource, _document(resource, record), operations, minor=call.minor)


def _document(resource: Resource, record: Any) -> dict[str, Json]:
    """The patchable members as they are now, in the words of a request."""
    document: dict[str, Json] = {}
    for field in resource.fields:
        if not field.patchable:
            continue
        if field.kept is Kept.BODY:  # goal and strategy stand in the record by their uuid
            document[field.name] = getattr(record, f"{field.name}_uuid")
        else:
            document[field.name] = render.to_json(field.type, getattr(record, field.name))
    return document
