"""Whether two plans touch the same resources (A-086, A-087)."""

from __future__ import annotations

from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.store.query import Query
from trimtab_common.store.session import Session

LAUNCH = "launch"
RUNNING = (PlanState.PENDING, PlanState.ONGOING, PlanState.CANCELLING)


async def running_plan_beside(session: Session, plan: ActionPlan) -> ActionPlan | None:
    """A plan that runs or waits to, and touches a resource of this one; None when there is none.

    Until the end of this transaction no other one passes here: whoever launches a plan looks first,
    and two who looked at once would both see nothing.
    """
    await session.leases.one_at_a_time(LAUNCH)
    mine: set[str] | None = None
    for other in await session.action_plans.list(Query(filters={"state__in": RUNNING})):
        if other.uuid == plan.uuid:
            continue
        if mine is None:
            mine = resources(await session.actions.list_of_plan(plan.uuid))
        if mine & resources(await session.actions.list_of_plan(other.uuid)):
            return other
    return None


def resources(actions: list[Action]) -> set[str]:
    """What the actions change: servers, hosts, volumes, by the id or name that they carry.

    A skipped action changes nothing: an operator may skip what overlaps and launch the rest.
    """
    keys = ("resource_id", "resource_name")
    live = [action for action in actions if action.state is not ActionState.SKIPPED]
    found = {action.input_parameters.get(key) for action in live for key in keys}
    return {str(one) for one in found if one}
