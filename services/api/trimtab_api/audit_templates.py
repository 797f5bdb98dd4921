"""Audit templates: named defaults for audits (A §4.3). Both faces create and change them here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab_api import idents, names, scopes
from trimtab_api.conditions import Also, Guard, any_version, nothing_more
from trimtab_api.ports import Deps
from trimtab_common.domain.errors import Conflict, InvalidArgument, NotFound, UnknownReference
from trimtab_common.domain.records import AuditTemplate, Goal, Strategy
from trimtab_common.domain.resources import AUDIT_TEMPLATES, GOALS, STRATEGIES
from trimtab_common.rules import parameters
from trimtab_common.store import Session

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDraft:
    """What somebody wants as a template. `goal`, `strategy`: uuid or name."""

    name: str
    goal: str | None = None
    strategy: str | None = None
    description: str | None = None
    scope: Json = None
    default_parameters: Mapping[str, Json] | None = None


async def create(deps: Deps, draft: TemplateDraft, *, also: Also = nothing_more) -> AuditTemplate:
    """Stores a template. InvalidArgument: unknown goal or strategy, bad scope or parameters.

    AlreadyExists: the name is taken.
    """
    goal_ident = draft.goal
    if goal_ident is None:
        raise InvalidArgument("An audit template needs a goal.")
    names.checked(AUDIT_TEMPLATES, draft.name)
    scope = scopes.checked(draft.scope or [], await scopes.declared(deps, draft.scope))

    async def work(session: Session) -> AuditTemplate:
        goal = await find_goal(session, goal_ident)
        strategy = await find_strategy(session, draft.strategy, goal.id)
        _check_defaults(draft.default_parameters or {}, strategy)
        template = await session.audit_templates.create(
            AuditTemplate(
                uuid=deps.new_uuid(),
                name=draft.name,
                goal_id=goal.id,
                strategy_id=strategy.id if strategy else None,
                description=draft.description,
                scope=scope,
                default_parameters=dict(draft.default_parameters or {}),
            )
        )
        await also(session, template)
        return template

    return _looked_at(deps, await deps.store.transact(work))


def _looked_at(deps: Deps, template: AuditTemplate) -> AuditTemplate:
    """What its scope names and is not there is told, and refuses nothing (C-092)."""
    if template.scope:
        deps.waker.check_scope(template.uuid)
    return template


async def update(
    deps: Deps, ident: str, changes: Mapping[str, Json], *, guard: Guard = any_version
) -> AuditTemplate:
    """Changes a template; audits made from it stay as they are (A-049).

    Conflict: goal or strategy change while default parameters are set and not changed too (A-047).
    """
    declared = await scopes.declared(deps, changes.get("scope"))

    async def work(session: Session) -> AuditTemplate:
        template = await session.audit_templates.get(idents.parse(AUDIT_TEMPLATES, ident))
        guard(template)
        columns = {
            name: value for name, value in changes.items() if name not in ("goal", "strategy")
        }
        if "name" in changes:
            names.checked(AUDIT_TEMPLATES, changes["name"])
        if "scope" in changes:
            columns["scope"] = scopes.checked(changes["scope"], declared)
        moves = bool({"goal", "strategy"} & set(changes))
        if moves or "default_parameters" in changes:
            columns |= await _references(session, template, changes, moves=moves)
        if not columns:
            return template
        return await session.audit_templates.update(template.uuid, columns)

    template = await deps.store.transact(work)
    return _looked_at(deps, template) if "scope" in changes else template


async def delete(deps: Deps, ident: str, *, guard: Guard = any_version) -> None:
    """Soft-deletes a template. NotFound when there is none."""

    async def work(session: Session) -> None:
        template = await session.audit_templates.get(idents.parse(AUDIT_TEMPLATES, ident))
        guard(template)
        await session.audit_templates.soft_delete(template.uuid)

    await deps.store.transact(work)


async def find_goal(session: Session, ident: str) -> Goal:
    """UnknownReference when no goal has this uuid or name."""
    try:
        return await session.goals.get(idents.parse(GOALS, ident))
    except NotFound:
        raise UnknownReference(f"Goal {ident} could not be found.") from None


async def find_strategy(session: Session, ident: str | None, goal_id: int) -> Strategy | None:
    """UnknownReference when there is no such strategy; InvalidArgument when it serves another goal."""
    if ident is None:
        return None
    try:
        strategy = await session.strategies.get(idents.parse(STRATEGIES, ident))
    except NotFound:
        raise UnknownReference(f"Strategy {ident} could not be found.") from None
    return serving(strategy, goal_id)


def serving(strategy: Strategy, goal_id: int) -> Strategy:
    """The strategy; InvalidArgument when it serves another goal."""
    if strategy.goal_id != goal_id:
        raise InvalidArgument(f"Strategy {strategy.name} does not serve this goal.")
    return strategy


async def _references(
    session: Session, template: AuditTemplate, changes: Mapping[str, Json], *, moves: bool
) -> dict[str, Json]:
    if moves and template.default_parameters and "default_parameters" not in changes:
        raise Conflict(
            "default_parameters are set for the present goal and strategy; change them in the same "
            "request."
        )
    goal_id = template.goal_id
    if "goal" in changes:
        goal_id = (await find_goal(session, changes["goal"])).id
    wanted = changes.get("strategy") if "strategy" in changes else template.strategy_uuid
    strategy = await find_strategy(session, wanted, goal_id)
    defaults = changes.get("default_parameters", template.default_parameters)
    _check_defaults(defaults or {}, strategy)
    return {"goal_id": goal_id, "strategy_id": strategy.id if strategy else None}


def _check_defaults(defaults: Mapping[str, Json], strategy: Strategy | None) -> None:
    if not defaults:
        return
    if strategy is None:
        raise InvalidArgument("default_parameters need a strategy.")
    parameters.checked(defaults, strategy.parameters_spec)
