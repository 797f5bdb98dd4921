"""How a plan ends, from how its actions ended (B-277). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trimtab_applier.errors import ActionFailed
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action

SKIPPED = "One or more actions were skipped."
_NAMED = 3
_CAUSE_CHARS = 100
_SAID_BEFORE = re.compile(r"Action failed in \w+: ")


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """The last transition of a plan; `message` None leaves the column as it is."""

    state: PlanState
    event: str
    message: str | None
    error: ActionFailed | None


def plan_outcome(
    actions: Iterable[Action],
    states: Mapping[str, ActionState],
    causes: Mapping[str, str] | None = None,
) -> PlanOutcome:
    """FAILED if any action FAILED, else SUCCEEDED; skipped ones only leave a message.

    `causes`: what each failed action said of its failure, the first to fail first.
    """
    causes = causes or {}
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
    turn = {uuid: place for place, uuid in enumerate(causes)}
    failed.sort(key=lambda action: turn.get(action.uuid, len(turn)))
    cause = f"Failed: {_named(failed, short_cause(causes.get(failed[0].uuid)))}."
    return PlanOutcome(
        PlanState.FAILED,
        "action_plan.execution.error",
        " ".join([*parts, cause]),
        ActionFailed(cause),
    )


def short_cause(text: str | None) -> str:
    """The first sentence of what an action said of its failure, short and without its full stop."""
    said = _SAID_BEFORE.sub("", text or "").split(". ")[0].strip().rstrip(".")
    return said if len(said) <= _CAUSE_CHARS else said[: _CAUSE_CHARS - 1] + "…"


def _named(actions: list[Action], cause: str) -> str:
    named = [f"{action.action_type} {action.uuid}" for action in actions[:_NAMED]]
    if cause:
        named[0] += f" ({cause})"
    more = len(actions) - _NAMED
    names = ", ".join(named)
    return f"{names} and {more} more" if more > 0 else names
