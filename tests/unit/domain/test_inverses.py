"""What undoes an action, and in which order."""

from __future__ import annotations

import pytest

from trimtab_common.domain.inverses import (
    NotInvertible,
    inverse_of,
    origin_of,
    reason_for,
    undo_order,
    undone_by,
)
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action

DONE = ActionState.SUCCEEDED


def action(uuid, kind, parameters, *parents, intent=None, result=None, state=DONE):
    return Action(
        uuid=uuid,
        action_plan_id=1,
        action_type=kind,
        input_parameters={"resource_id": uuid, **parameters},
        parents=parents,
        intent=intent,
        result=result,
        state=state,
    )


def disable(uuid, host, *parents):
    parameters = {"resource_name": host, "state": "disabled"}
    return action(
        uuid, "change_nova_service_state", parameters, *parents, intent={"prior_status": "enabled"}
    )


def move(uuid, source, to, *parents):
    parameters = {"migration_type": "live", "source_node": source, "destination_node": to}
    return action(uuid, "migrate", parameters, *parents)


def power_off(uuid, host, *parents):
    parameters = {"resource_name": host, "state": "off"}
    return action(
        uuid, "change_node_power_state", parameters, *parents, intent={"prior_power": "on"}
    )


def order_of(*actions):
    return undo_order(actions, {one.uuid: inverse_of(one) for one in actions})


@pytest.mark.req("B-303", "A-077")
@pytest.mark.parametrize(
    ("kind", "given", "intent", "result", "expected"),
    [
        (
            "migrate",
            {"migration_type": "cold", "source_node": "a"},
            {"source_host": "a"},
            {"host": "z"},  # Nova chose
            (
                "migrate",
                {"migration_type": "cold", "source_node": "z", "destination_node": "a"},
            ),
        ),
        (
            "change_nova_service_state",
            {"state": "enabled"},
            {"prior_status": "disabled", "prior_reason": "mine", "host": "h"},
            {},
            (
                "change_nova_service_state",
                {"resource_name": "h", "state": "disabled", "disabled_reason": "mine"},
            ),
        ),
        (
            "resize",
            {"flavor": "big"},
            {"prior_flavor": "small"},
            {},
            ("resize", {"flavor": "small"}),
        ),
        ("stop", {}, {}, {}, ("start", {})),
        (
            "change_node_power_state",
            {"state": "off"},
            {"prior_power": "on"},
            {},
            ("change_node_power_state", {"state": "on"}),
        ),
        (
            "volume_migrate",
            {"migration_type": "migrate", "destination_node": "x@y#2"},
            {"way": "migrate", "prior_pool": "x@y#1", "prior_type": "t"},
            {},
            ("volume_migrate", {"migration_type": "migrate", "destination_node": "x@y#1"}),
        ),
        (
            "volume_migrate",
            {"migration_type": "swap", "destination_type": "fast"},
            {"way": "retype", "prior_pool": "x@y#1", "prior_type": "slow"},
            {},
            ("volume_migrate", {"migration_type": "retype", "destination_type": "slow"}),
        ),
    ],
)
def test_each_type_has_its_inverse(kind, given, intent, result, expected):
    found = inverse_of(action("r", kind, given, intent=intent, result=result))
    assert (found.action_type, found.parameters) == (
        expected[0],
        {"resource_id": "r", **expected[1]},
    )


@pytest.mark.req("B-303")
@pytest.mark.parametrize(
    ("kind", "given", "result", "state", "why"),
    [
        ("nop", {}, {}, DONE, "changed nothing"),
        ("sleep", {}, {}, DONE, "changed nothing"),
        ("wave", {}, {}, DONE, "type wave cannot be undone"),
        ("stop", {}, {}, ActionState.FAILED, "only SUCCEEDED"),
        ("stop", {}, {"reverted": "undone"}, DONE, "reverted when its plan failed"),
        ("resize", {"flavor": "x"}, {}, DONE, "does not say what flavor"),
        ("volume_migrate", {}, {}, DONE, "does not say in which pool"),
    ],
)
def test_what_has_no_inverse_says_why(kind, given, result, state, why):
    with pytest.raises(NotInvertible, match=why):
        inverse_of(action("r", kind, given, result=result, state=state))


@pytest.mark.req("B-217", "B-304")
def test_a_closed_host_is_opened_before_its_servers_come_back():
    order = order_of(disable("d", "h"), move("m1", "h", "x", "d"), move("m2", "h", "y", "m1"))
    assert order == {"d": (), "m2": ("d",), "m1": ("d", "m2")}
    assert list(order) == ["d", "m2", "m1"]


@pytest.mark.req("B-217")
def test_a_host_is_powered_on_then_opened_then_filled():
    order = order_of(disable("d", "h"), move("m", "h", "x", "d"), power_off("p", "h", "m"))
    assert order == {"p": (), "d": ("p",), "m": ("d", "p")}


def test_who_waited_for_the_opening_still_waits_for_what_it_stood_for():
    first = action("s", "stop", {})
    order = order_of(first, disable("d", "h", "s"), move("m", "h", "x", "d"))
    assert order == {"d": (), "m": ("d",), "s": ("d", "m")}


def test_two_hosts_that_swap_their_servers_make_no_circle():
    order = order_of(
        disable("d1", "h1"),
        disable("d2", "h2"),
        move("m1", "h1", "h2", "d1", "d2"),
        move("m2", "h2", "h1", "d1", "d2"),
        power_off("p1", "h1", "m2"),
        power_off("p2", "h2", "m1"),
    )
    assert set(order) == {"d1", "d2", "m1", "m2", "p1", "p2"}
    assert "d1" in order["m1"]
    assert "d2" in order["m2"]


def test_what_is_not_undone_keeps_the_order_of_those_around_it():
    steps = (action("a", "stop", {}), action("n", "nop", {}, "a"), action("b", "stop", {}, "n"))
    inverses = {one.uuid: inverse_of(one) for one in steps if one.action_type != "nop"}
    assert undo_order(steps, inverses) == {"b": (), "a": ("b",)}


def test_the_reason_of_an_inverse_names_what_it_undoes():
    inverse = action("i", "start", {})
    inverse = Action(uuid="i", action_plan_id=1, action_type="start", reason=reason_for("a", "p"))
    assert (undone_by(inverse), origin_of([inverse])) == ("a", "p")
    assert (undone_by(action("x", "nop", {})), origin_of([])) == (None, None)
