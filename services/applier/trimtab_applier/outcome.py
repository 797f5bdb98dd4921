"""How a plan ends, from how its actions ended (B-277). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trimtab_applier.errors import ActionFailed
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action

SKIPPED = "One or more actions were skipped."
_NAMED = 3


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """The last transition of a plan; `message` None leaves the column as it is."""

    state: PlanState
    event: str
    message: str | None
    error: ActionFailed | None


def plan_outcome(actions: Iterable[Action], states: Mapping[str, ActionState]) -> PlanOutcome:
    """FAILED if any action FAILED, else SUCCEEDED; skipped ones only leave a message."""
    failed: list[Action] = []
    parts: list[str] = []
    for action in actions:
        if states[action.uuid] is ActionState.FAILED:
            failed.append(action)
        elif states[action.uuid] is ActionState.SKIPPED:
            parts = [SKIPPED]
    if not failed:
        return PlanOutcome(
            PlanState.SUCCEEDED, "action_plan.execution.end", " ".join(parts) or None, None
        )
    cause = f"Failed: {_named(failed)}."
    return PlanOutcome(
        PlanState.FAILED,
        "action_plan.execution.error",
        " ".join([*parts, cause]),
        ActionFailed(cause),
    )


def _named(actions: list[Action]) -> str:
    names = ", ".join(f"{action.action_type} {action.uuid}" for action in actions[:_NAMED])
    more = len(actions) - _NAMED
    return f"{names} and {more} more" if more > 0 else names
