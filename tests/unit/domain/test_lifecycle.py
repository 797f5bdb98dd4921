"""The state machine of actions, pair by pair, as the requirement writes it."""

import itertools

import pytest

from trimtab_common.domain.lifecycle import (
    ACTION,
    ActionState,
    Actor,
    TransitionNotAllowed,
    check,
    is_allowed,
)

DOCUMENTED = {
    "PENDING": {"ONGOING", "CANCELLED", "SKIPPED", "FAILED"},
    "ONGOING": {"SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED"},
    "CANCELLING": {"CANCELLED", "SUCCEEDED", "FAILED"},
}
"""B-278; what an abort that came too late ends in is B-281, ONGOING to CANCELLED is B-290."""
BY_THE_ADMIN = {("PENDING", "SKIPPED"), ("PENDING", "CANCELLED")}


@pytest.mark.req("B-278")
@pytest.mark.parametrize(
    ("source", "target"),
    [pair for pair in itertools.product(ActionState, ActionState) if pair[1] != "DELETED"],
)
def test_an_action_goes_only_where_the_requirement_lets_it(source, target):
    may = {actor for actor in Actor if is_allowed(ACTION, source, target, actor)}
    assert bool(may) is (target in DOCUMENTED.get(source, set()))
    assert (Actor.API in may) is ((source, target) in BY_THE_ADMIN)
    if not may:
        with pytest.raises(TransitionNotAllowed, match=f"{source} -> {target}"):
            check(ACTION, source, target, Actor.APPLIER)


def test_the_states_are_the_documented_ones():
    assert [state.value for state in ActionState] == [
        *("PENDING", "ONGOING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED"),
        *("SKIPPED", "DELETED"),
    ]
