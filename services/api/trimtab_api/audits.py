"""Audits: asked for, changed and deleted here, run by decision (A §4.4). Both faces come here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trimtab_api import idents, parameters, schedule, scopes
from trimtab_api.audit_templates import find_strategy
from trimtab_api.ports import Deps
from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType
from trimtab_common.domain.records import Audit, AuditTemplate, Goal, Strategy
from trimtab_common.domain.resources import AUDIT_TEMPLATES, AUDITS, GOALS, STRATEGIES
from trimtab_common.store import Session

Json = Any
MAX_NAME_LENGTH = 63


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


async def create(deps: Deps, draft: AuditDraft) -> Audit:
    """Stores an audit as PENDING and wakes decision, unless it waits for its webhook.

    InvalidArgument: type, interval, times, parameters, scope or template. NotFound: goal or
    strategy. AlreadyExists: the name is taken.
    """
    audit_type = _checked_type(draft.audit_type)
    if (draft.goal is None) == (draft.audit_template_uuid is None):
        raise InvalidArgument("A valid goal or audit_template_uuid must be provided, not both.")
    interval = _checked_interval(audit_type, draft.interval)
    _check_window(audit_type, draft.start_time, draft.end_time)
    now = deps.clock.now()

    async def work(session: Session) -> Audit:
        template = await _template(session, draft.audit_template_uuid)
        goal = await _goal(session, draft.goal, template)
        strategy = await _strategy(session, draft.strategy, template, goal)
        scope = template.scope if draft.scope is None and template else draft.scope or []
        defaults = (template.default_parameters or {}) if template else {}
        given = {**(defaults if strategy else {}), **draft.parameters}
        return await session.audits.create(
            Audit(
                uuid=deps.new_uuid(),
                name=_name(draft.name, strategy or template or goal, now),
                audit_type=audit_type,
                goal_id=goal.id,
                strategy_id=strategy.id if strategy else None,
                parameters=parameters.checked(
                    given, strategy.parameters_spec if strategy else None
                ),
                interval=interval,
                scope=scopes.checked(scope),
                auto_trigger=draft.auto_trigger,
                force=draft.force,
                start_time=draft.start_time,
                end_time=draft.end_time,
            )
        )

    audit = await deps.store.transact(work)
    if audit_type is not AuditType.EVENT:
        deps.waker.wake_audit(audit.uuid)
    return audit


async def update(deps: Deps, ident: str, changes: Mapping[str, Json]) -> Audit:
    """Changes the given fields, the state last; all or nothing (A-058..A-062).

    InvalidArgument: a wrong value. TransitionNotAllowed: the state may not change so.
    """

    async def work(session: Session) -> Audit:
        audit = await session.audits.get(idents.parse(AUDITS, ident))
        target = _target_state(audit, changes["state"]) if "state" in changes else None
        columns = await _columns(deps, session, audit, changes)
        if columns:
            audit = await session.audits.update(audit.uuid, columns)
        if target is not None:
            audit = await session.audits.transition(
                audit.uuid, to=target, actor=Actor.API, source=audit.state
            )
        return audit

    audit = await deps.store.transact(work)
    if changes:
        deps.waker.wake_audit(audit.uuid)
    return audit


async def cancel(deps: Deps, ident: str) -> Audit:
    """Moves an audit to CANCELLED. TransitionNotAllowed when its state does not allow it."""
    return await update(deps, ident, {"state": AuditState.CANCELLED.value})


async def delete(deps: Deps, ident: str) -> None:
    """Soft-deletes an audit that has ended; its plans stay (A-061).

    FailedPrecondition: it has not ended.
    """

    async def work(session: Session) -> None:
        audit = await session.audits.get(idents.parse(AUDITS, ident))
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
        if audit.state not in (AuditState.PENDING, AuditState.SUCCEEDED):
            raise FailedPrecondition(f"Audit {ident} can not be triggered in state {audit.state}.")
        await session.audits.update(audit.uuid, {"next_run_time": deps.clock.now()})
        return audit.uuid

    deps.waker.wake_audit(await deps.store.transact(work))


def _checked_type(text: str) -> AuditType:
    try:
        return AuditType(text)
    except ValueError:
        known = ", ".join(AuditType)
        raise InvalidArgument(f"Audit type {text} is unknown; it is one of: {known}.") from None


def _checked_interval(audit_type: AuditType, interval: str | int | None) -> str | None:
    if audit_type is AuditType.ONESHOT and interval is not None:
        raise InvalidArgument("Interval of audit must not be set for ONESHOT audits.")
    if audit_type is AuditType.CONTINUOUS and interval is None:
        raise InvalidArgument("Interval of audit must be specified for CONTINUOUS audits.")
    return None if interval is None else schedule.checked_interval(interval)


def _check_window(audit_type: AuditType, start: datetime | None, end: datetime | None) -> None:
    if audit_type is AuditType.ONESHOT and (start is not None or end is not None):
        raise InvalidArgument("Start or end time of audit must not be set for ONESHOT audits.")
    if start is not None and end is not None and end <= start:
        raise InvalidArgument("The end time of an audit must be later than its start time.")


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
        await session.strategies.get(idents.parse(STRATEGIES, ident))  # unknown is 404
        return await find_strategy(session, ident, goal.id)
    return await find_strategy(session, template.strategy_uuid if template else None, goal.id)


def _name(given: str | None, source: Strategy | AuditTemplate | Goal, now: datetime) -> str:
    """The given name, or one from source and time, cut so that the time stays whole (A-055)."""
    if given:
        if len(given) > MAX_NAME_LENGTH:
            raise InvalidArgument(f"The name of an audit has at most {MAX_NAME_LENGTH} characters.")
        return given
    stamp = f"-{now.replace(tzinfo=None).isoformat()}"
    return source.name[: MAX_NAME_LENGTH - len(stamp)] + stamp


def _target_state(audit: Audit, wanted: Json) -> AuditState:
    """DELETED is reached by DELETE only; anything unknown is refused as a transition (A-058)."""
    known = {state.value: state for state in AuditState if state is not AuditState.DELETED}
    target = known.get(wanted) if isinstance(wanted, str) else None
    if target is None:
        raise lifecycle.TransitionNotAllowed(
            f"State transition not allowed: ({audit.state} -> {wanted})"
        )
    lifecycle.check(lifecycle.AUDIT, audit.state, target, Actor.API)
    return target


async def _columns(
    deps: Deps, session: Session, audit: Audit, changes: Mapping[str, Json]
) -> dict[str, Json]:
    columns = {
        name: changes[name]
        for name in ("name", "auto_trigger", "force", "start_time", "end_time")
        if name in changes
    }
    if "start_time" in changes or "end_time" in changes:
        start = columns.get("start_time", audit.start_time)
        _check_window(audit.audit_type, start, columns.get("end_time", audit.end_time))
    if "interval" in changes:
        interval = _checked_interval(audit.audit_type, changes["interval"])
        columns["interval"] = interval
        if interval is not None and audit.next_run_time is not None:
            columns["next_run_time"] = schedule.next_run(interval, deps.clock.now())
    if "parameters" in changes:
        schema = None
        if audit.strategy_uuid is not None:
            schema = (await session.strategies.get(audit.strategy_uuid)).parameters_spec
        columns["parameters"] = parameters.checked(changes["parameters"], schema)
    if "scope" in changes:
        columns["scope"] = scopes.checked(changes["scope"])
    return columns
