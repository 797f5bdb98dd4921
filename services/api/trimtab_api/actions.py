"""Actions: skipped by the operator here, carried out by applier (A §4.6)."""

from __future__ import annotations

from trimtab_api import idents
from trimtab_api.conditions import Guard, any_version
from trimtab_api.ports import Deps
from trimtab_common.domain.errors import Conflict, InvalidArgument
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action
from trimtab_common.domain.resources import ACTIONS
from trimtab_common.store import Session

SKIPPED_BY_USER = "Action skipped by user."
OPEN_PLANS = frozenset({PlanState.RECOMMENDED, PlanState.PENDING})


async def skip(
    deps: Deps,
    ident: str,
    *,
    state: str | None = None,
    message: str | None = None,
    guard: Guard = any_version,
) -> Action:
    """Moves a PENDING action of a plan not yet running to SKIPPED, or rewords why it was.

    Skipping what is SKIPPED already is no transition: it changes the message, if one is given.

    InvalidArgument: no such state. Conflict: another transition, the plan runs or has ended, or
    a message for an action that is not skipped.
    """
    if state is not None and state not in ActionState.__members__:
        raise InvalidArgument(f"Invalid state: {state}")
    text = f"{SKIPPED_BY_USER} Reason: {message}" if message else SKIPPED_BY_USER

    async def work(session: Session) -> Action:
        action = await session.actions.get(idents.parse(ACTIONS, ident))
        guard(action)
        if state is None:
            return await _reword(session, action, message, text)
        is_skipped = action.state is ActionState.SKIPPED
        if state != ActionState.SKIPPED or not (is_skipped or action.state is ActionState.PENDING):
            raise Conflict(f"State transition not allowed: ({action.state} -> {state})")
        plan = await session.action_plans.get(action.action_plan_uuid)
        if plan.state not in OPEN_PLANS:
            raise Conflict(f"State update not allowed for actionplan state: {plan.state}")
        if is_skipped:
            return await _reword(session, action, message, text)
        return await session.actions.transition(
            action.uuid,
            to=ActionState.SKIPPED,
            actor=Actor.API,
            source=ActionState.PENDING,
            status_message=text,
        )

    return await deps.store.transact(work)


async def _reword(session: Session, action: Action, message: str | None, text: str) -> Action:
    if message is None:
        return action
    if action.state is not ActionState.SKIPPED:
        raise Conflict("status_message update only allowed when action state is SKIPPED")
    return await session.actions.update(action.uuid, {"status_message": text})
