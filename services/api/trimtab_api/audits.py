"""Audits: asked for, changed and deleted here, run by decision (A §4.4). Both faces come here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trimtab_api import idents, names, scopes
from trimtab_api.audit_templates import find_strategy, serving
from trimtab_api.conditions import Also, Guard, any_version, nothing_more
from trimtab_api.ports import Deps
from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType
from trimtab_common.domain.records import Audit, AuditTemplate, Goal, Strategy
from trimtab_common.domain.resources import AUDIT_TEMPLATES, AUDITS, GOALS, STRATEGIES
from trimtab_common.rules import intervals, parameters, triggers
from trimtab_common.runtime import failpoints
from trimtab_common.store import Session

Json = Any
_TRIGGERED_IN = (AuditState.PENDING, AuditState.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDraft:
    """What somebody wants as an audit. `scope` None: the template's, or the whole cluster."""

    audit_type: str
    name: str | None = None
    goal: str | None = None
    strategy: str | None = None
    audit_template_uuid: str | None = None
    interval: str | int | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    scope: Json = None
    auto_trigger: bool = False
    force: bool = False
    start_time: datetime | None = None
    end_time: datetime | None = None


async def create(deps: Deps, draft: AuditDraft, *, also: Also = nothing_more) -> Audit:
    """Stores an audit as PENDING and wakes decision, unless it waits for its webhook.

    InvalidArgument: type, interval, times, parameters, scope or template. NotFound: goal or
    strategy. AlreadyExists: the name is taken.
    """
    audit_type = _checked_type(draft.audit_type)
    if (draft.goal is None) == (draft.audit_template_uuid is None):
        raise InvalidArgument("A valid goal or audit_template_uuid must be provided, not both.")
    now = deps.clock.now()
    interval = _checked_interval(audit_type, draft.interval, now)
    if audit_type is AuditType.ONESHOT and (draft.start_time or draft.end_time):
        raise InvalidArgument("Start or end time of audit must not be set for ONESHOT audits.")
    _check_window(draft.start_time, draft.end_time)
    declared = await scopes.declared(deps, draft.scope, draft.audit_template_uuid)

    async def work(session: Session) -> Audit:
        template = await _template(session, draft.audit_template_uuid)
        goal = await _goal(session, draft.goal, template)
        strategy = await _strategy(session, draft.strategy, template, goal)
        scope = template.scope if draft.scope is None and template else draft.scope or []
        defaults = (template.default_parameters or {}) if template else {}
        started_by, own = triggers.split(draft.parameters)
        given = {**(defaults if strategy else {}), **own}
        failpoints.reach("api.audit.create")
        audit = await session.audits.create(
            Audit(
                uuid=deps.new_uuid(),
                name=_name(draft.name, strategy or template or goal, now),
                audit_type=audit_type,
                goal_id=goal.id,
                strategy_id=strategy.id if strategy else None,
                parameters={
                    **parameters.checked(given, strategy.parameters_spec if strategy else None),
                    **triggers.stored(started_by, audit_type),
                },
                interval=interval,
                scope=scopes.checked(scope, declared),
                auto_trigger=draft.auto_trigger,
                force=draft.force,
                start_time=draft.start_time,
                end_time=draft.end_time,
            )
        )
        await also(session, audit)
        return audit

    audit = await deps.store.transact(work)
    failpoints.reach("api.audit.created")
    if audit.scope:
        deps.waker.check_scope(audit.uuid)
    if audit_type is not AuditType.EVENT:
        deps.waker.wake_audit(audit.uuid)
    return audit


async def update(
    deps: Deps, ident: str, changes: Mapping[str, Json], *, guard: Guard = any_version
) -> Audit:
    """Changes the given fields, the state last; all or nothing (A-058..A-062).

    InvalidArgument: a wrong value. TransitionNotAllowed: the state may not change so.
    """
    if "scope" in changes:
        declared = await scopes.declared(deps, changes["scope"])
        changes = {**changes, "scope": scopes.checked(changes["scope"], declared)}

    async def work(session: Session) -> Audit:
        audit = await session.audits.get(idents.parse(AUDITS, ident))
        guard(audit)
        target = _target_state(audit, changes["state"]) if "state" in changes else None
        failpoints.reach("api.audit.update")
        columns = await _columns(deps, session, audit, changes)
        if columns:
            audit = await session.audits.update(audit.uuid, columns)
        if target is not None:
            audit = await session.audits.transition(
                audit.uuid, to=target, actor=Actor.API, source=audit.state
            )
        return audit

    audit = await deps.store.transact(work)
    if changes.get("scope"):
        deps.waker.check_scope(audit.uuid)
    if changes:
        deps.waker.wake_audit(audit.uuid)
    return audit


async def set_state(
    deps: Deps, ident: str, wanted: AuditState, *, guard: Guard = any_version
) -> Audit:
    """Cancels, suspends or resumes. TransitionNotAllowed when its state does not allow it."""
    return await update(deps, ident, {"state": wanted.value}, guard=guard)


async def delete(deps: Deps, ident: str, *, guard: Guard = any_version) -> None:
    """Soft-deletes an audit that has ended; its plans stay (A-061).

    FailedPrecondition: it has not ended.
    """

    async def work(session: Session) -> None:
        audit = await session.audits.get(idents.parse(AUDITS, ident))
        guard(audit)
        await session.audits.soft_delete(audit.uuid, actor=Actor.API)

    await deps.store.transact(work)


async def trigger(deps: Deps, ident: str) -> None:
    """Asks for a run of an EVENT audit (A-073).

    The wish stands in the record as `next_run_time`, so it outlives a lost wake-up; decision
    clears it when it claims the audit. InvalidArgument: not an EVENT audit, or busy or ended.
    """

    async def work(session: Session) -> str:
        audit = await session.audits.get(idents.parse(AUDITS, ident))
        if audit.audit_type is not AuditType.EVENT:
            raise InvalidArgument(f"Audit {ident} is not of type EVENT but {audit.audit_type}.")
        try:
            await session.audits.update_in(
                audit.uuid, {"next_run_time": deps.clock.now()}, source=_TRIGGERED_IN
            )
        except Conflict as error:  # a wish written beside a run would be cleared at its end
            state = error.details["state"]
            raise FailedPrecondition(
                f"Audit {ident} can not be triggered in state {state}."
            ) from None
        return audit.uuid

    deps.waker.wake_audit(await deps.store.transact(work))


def _checked_type(text: str) -> AuditType:
    try:
        return AuditType(text)
    except ValueError:
        known = ", ".join(AuditType)
        raise InvalidArgument(f"Audit type {text} is unknown; it is one of: {known}.") from None


def _checked_interval(
    audit_type: AuditType, interval: str | int | None, now: datetime
) -> str | None:
    if audit_type is AuditType.ONESHOT and interval is not None:
        raise InvalidArgument("Interval of audit must not be set for ONESHOT audits.")
    if audit_type is AuditType.CONTINUOUS and interval is None:
        raise InvalidArgument("Interval of audit must be specified for CONTINUOUS audits.")
    return None if interval is None else intervals.checked(interval, now=now)


def _check_window(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end <= start:
        raise InvalidArgument("The end time of an audit must be later than its start time.")


def _patched_interval(audit: Audit, interval: str | None, now: datetime) -> str | None:
    """As Watcher has it, a PATCH may give a ONESHOT audit an interval; it means nothing there."""
    if audit.audit_type is AuditType.CONTINUOUS or interval is None:
        return _checked_interval(audit.audit_type, interval, now)
    return intervals.checked(interval, now=now)


async def _template(session: Session, text: str | None) -> AuditTemplate | None:
    if text is None:
        return None
    uuid = idents.parse_uuid(text)
    if uuid is None:
        raise InvalidArgument(f"Expected a uuid as audit_template_uuid but received {text}.")
    try:
        return await session.audit_templates.get(idents.parse(AUDIT_TEMPLATES, uuid))
    except NotFound:
        raise InvalidArgument(
            f"The audit template UUID or name specified is invalid: {text}"
        ) from None


async def _goal(session: Session, ident: str | None, template: AuditTemplate | None) -> Goal:
    if ident is not None:
        return await session.goals.get(idents.parse(GOALS, ident))
    assert template is not None  # noqa: S101, exactly one of both is given
    return await session.goals.get(template.goal_id)


async def _strategy(
    session: Session, ident: str | None, template: AuditTemplate | None, goal: Goal
) -> Strategy | None:
    if ident is not None:
        known = await session.strategies.get(idents.parse(STRATEGIES, ident))  # 404
        return serving(known, goal.id)
    return await find_strategy(session, template.strategy_uuid if template else None, goal.id)


def _name(given: str | None, source: Strategy | AuditTemplate | Goal, now: datetime) -> str:
    """The given name, or one from source and time, cut so that the time stays whole (A-055)."""
    if given:
        return names.checked(AUDITS, given)
    stamp = f"-{now.replace(tzinfo=None).isoformat()}"
    return source.name[: (AUDITS.by_name["name"].max_length or 0) - len(stamp)] + stamp


def _target_state(audit: Audit, wanted: Json) -> AuditState:
    """DELETED is reached by DELETE only; anything unknown is refused as a transition (A-058)."""
    known = {state.value: state for state in AuditState if state is not AuditState.DELETED}
    target = known.get(wanted) if isinstance(wanted, str) else None
    if target is None:
        raise refused(audit, wanted)
    lifecycle.check(lifecycle.AUDIT, audit.state, target, Actor.API)
    return target


def refused(audit: Audit, wanted: Json) -> lifecycle.TransitionNotAllowed:
    """The refusal of a state change, in Watcher's words (A-017)."""
    return lifecycle.TransitionNotAllowed(
        f"State transition not allowed: ({audit.state} -> {wanted})"
    )


async def _columns(
    deps: Deps, session: Session, audit: Audit, changes: Mapping[str, Json]
) -> dict[str, Json]:
    columns = {name: value for name, value in changes.items() if name != "state"}
    if "name" in changes:
        names.checked(AUDITS, changes["name"])
    if "start_time" in changes or "end_time" in changes:
        start = columns.get("start_time", audit.start_time)
        _check_window(start, columns.get("end_time", audit.end_time))
    if "interval" in changes:
        interval = _patched_interval(audit, changes["interval"], deps.clock.now())
        columns["interval"] = interval
        if interval is not None and audit.next_run_time is not None:
            columns["next_run_time"] = intervals.following(interval, deps.clock.now())
    if "parameters" in changes:
        schema = None
        if audit.strategy_uuid is not None:
            schema = (await session.strategies.get(audit.strategy_uuid)).parameters_spec
        started_by, own = triggers.split(changes["parameters"])
        columns["parameters"] = {
            **parameters.checked(own, schema),
            **triggers.stored(started_by, audit.audit_type),
        }
    return columns
