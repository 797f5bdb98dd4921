"""What undoes an action that succeeded, and in which order a plan is undone. Pure.

Decision makes a new plan of it (`POST .../rollback`); applier reverts by it what a failed plan has
done. What an inverse needs (host, flavor, state before) stands in the intent and the result that
applier committed when it ran the action (A-079).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action

Json = Any
NOTHING_TO_UNDO = frozenset({"nop", "sleep"})
DISABLED_REASON = "watcher_disabled"
"""Of a host that is closed without a reason given."""
REVERTED = "reverted"
"""In the result of an action of a failed plan: how its undoing by applier went; absent: not tried."""
UNDONE = "undone"
_UNDOES, _OF_PLAN = "undoes action ", " of action plan "
_Facts = Mapping[str, Json]


class NotInvertible(Exception):
    """Why one action has no inverse; it is reported, and the others are undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverse:
    """Type and parameters of an action that undoes another. `facts`: what it relies on."""

    action_type: str
    parameters: dict[str, Json]
    facts: dict[str, Json] | None = None

    @property
    def opens(self) -> str | None:
        """The host that takes servers again by it."""
        if self.action_type != "change_nova_service_state" or self.parameters["state"] != "enabled":
            return None
        return str(self.parameters.get("resource_name") or self.parameters.get("resource_id"))

    @property
    def fills(self) -> str | None:
        """The host that a server goes to."""
        return self.parameters["destination_node"] if self.action_type == "migrate" else None


def reason_for(action: str, plan: str) -> str:
    """The reason of an inverse: what it undoes."""
    return f"{_UNDOES}{action}{_OF_PLAN}{plan}"


def undone_by(action: Action) -> str | None:
    """The uuid of the action that this one undoes; None: it is no inverse."""
    reason = action.reason or ""
    if not reason.startswith(_UNDOES):
        return None
    return reason.removeprefix(_UNDOES).partition(_OF_PLAN)[0]


def origin_of(actions: Sequence[Action]) -> str | None:
    """The uuid of the plan that a plan of these actions rolls back; None: none."""
    reason = (actions[0].reason or "") if actions else ""
    if not reason.startswith(_UNDOES):
        return None
    return reason.partition(_OF_PLAN)[2] or None


def origin_message(plan: str) -> str:
    """What a plan that rolls back another says of itself (A-078)."""
    return f"Rolls back action plan {plan}."


def was_reverted(action: Action) -> bool:
    """Whether applier has undone it when its plan failed."""
    return (action.result or {}).get(REVERTED) == UNDONE


def inverse_of(action: Action) -> Inverse:
    """What undoes an action that succeeded. NotInvertible says why nothing does."""
    if action.state is not ActionState.SUCCEEDED:
        raise NotInvertible(f"It is {action.state}; only SUCCEEDED actions are undone.")
    if action.action_type in NOTHING_TO_UNDO:
        raise NotInvertible("It changed nothing.")
    derive = _INVERSES.get(action.action_type)
    if derive is None:
        raise NotInvertible(f"Actions of the type {action.action_type} cannot be undone.")
    if was_reverted(action):
        raise NotInvertible("It was reverted when its plan failed.")
    given = action.input_parameters
    same = {
        name: given[name]
        for name in ("resource_id", "resource_name")
        if given.get(name) is not None
    }
    kind, changed = derive(given, action.intent or {}, action.result or {})
    return Inverse(
        action_type=kind, parameters={**same, **changed}, facts=_relied_on(action, changed)
    )


def _relied_on(action: Action, inverse: Mapping[str, Json]) -> dict[str, Json] | None:
    """A host is opened again only while it is closed for the reason that the action gave."""
    if action.action_type != "change_nova_service_state" or inverse["state"] != "enabled":
        return None
    reason = action.input_parameters.get("disabled_reason") or DISABLED_REASON
    return {"status": "disabled", "disabled_reason": reason}


def _migrate(given: _Facts, intent: _Facts, result: _Facts) -> tuple[str, dict[str, Json]]:
    landed = result.get("host") or given.get("destination_node")
    if not landed:
        raise NotInvertible("The record does not say where the server went.")
    return "migrate", {
        "migration_type": given["migration_type"],
        "source_node": landed,
        "destination_node": intent.get("source_host") or given["source_node"],
    }


def _service_state(_given: _Facts, intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    before = intent.get("prior_status")
    if before is None:
        raise NotInvertible("The record does not say what state the service had before.")
    reason = intent.get("prior_reason")
    host = {"resource_name": intent["host"]} if intent.get("host") else {}
    why = {"disabled_reason": reason} if before == "disabled" else {}
    return "change_nova_service_state", {**host, "state": before, **why}


def _resize(_given: _Facts, intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    flavor = intent.get("prior_flavor")
    if not flavor:
        raise NotInvertible("The record does not say what flavor the server had before.")
    return "resize", {"flavor": flavor}


def _stop(_given: _Facts, _intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    return "start", {}


def _start(_given: _Facts, _intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    return "stop", {}


def _power(given: _Facts, intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    before = intent.get("prior_power")
    if before not in {"on", "off"}:
        raise NotInvertible("The record does not say whether the machine was on or off before.")
    if before == given["state"]:
        raise NotInvertible(f"The machine was {before} before, too.")
    return "change_node_power_state", {"state": before}


def _volume(_given: _Facts, intent: _Facts, _result: _Facts) -> tuple[str, dict[str, Json]]:
    kind, pool = intent.get("prior_type"), intent.get("prior_pool")
    if intent.get("way") == "retype":
        if not kind:
            raise NotInvertible("The volume had no type before, or the record does not say which.")
        return "volume_migrate", {"migration_type": "retype", "destination_type": kind}
    if not pool:
        raise NotInvertible("The record does not say in which pool the volume was.")
    return "volume_migrate", {"migration_type": "migrate", "destination_node": pool}


_INVERSES: Mapping[str, Callable[[_Facts, _Facts, _Facts], tuple[str, dict[str, Json]]]] = {
    "migrate": _migrate,
    "change_nova_service_state": _service_state,
    "resize": _resize,
    "stop": _stop,
    "start": _start,
    "change_node_power_state": _power,
    "volume_migrate": _volume,
}


def undo_order(
    actions: Sequence[Action], inverses: Mapping[str, Inverse | None]
) -> dict[str, tuple[str, ...]]:
    """Of each action in `inverses`, those whose undoing comes before its own; they stand first.

    `actions` is the whole plan: what is not undone keeps the order of those around it. None as an
    inverse: its undoing is not known here and takes the place that the order gives it.

    The order of the plan reversed, but that a host is opened before servers come back to it (B-217).
    Example: a plan closes host c, then moves server s away. Reversed to the letter s would come
    back to a closed host, which Nova refuses; here c is opened first, then s moves.
    """
    children: dict[str, list[str]] = {action.uuid: [] for action in actions}
    for action in actions:
        for parent in action.parents:
            children.get(parent, []).append(action.uuid)
    before: dict[str, frozenset[str]] = {}
    waits: dict[str, frozenset[str]] = {}
    for uuid in _last_first(actions, children):
        own = frozenset[str]().union(*(before[child] for child in children[uuid]))
        before[uuid] = frozenset({uuid}) if uuid in inverses else own
        if uuid in inverses:
            waits[uuid] = own
    for uuid, inverse in inverses.items():
        if inverse is not None and inverse.opens is not None:
            _open_early(uuid, inverse.opens, inverses, waits)
    order = TopologicalSorter(waits).static_order()
    return {uuid: tuple(sorted(waits[uuid])) for uuid in order}


def _open_early(
    opening: str,
    host: str,
    inverses: Mapping[str, Inverse | None],
    waits: dict[str, frozenset[str]],
) -> None:
    """Has the moves into a host wait for its opening, and not the other way round."""
    moves = {
        uuid for uuid, inverse in inverses.items() if inverse is not None and inverse.fills == host
    }
    behind = _all_before(opening, waits)
    if moves & behind:
        _free(opening, moves, behind, inverses, waits)
    for uuid in moves - _all_before(opening, waits):
        waits[uuid] |= {opening}


def _free(
    opening: str,
    moves: set[str],
    behind: set[str],
    inverses: Mapping[str, Inverse | None],
    waits: dict[str, frozenset[str]],
) -> None:
    """Lets the opening wait for nothing but machines that are powered on first."""
    old = waits[opening]
    waits[opening] = frozenset(
        uuid
        for uuid in behind
        if (inverse := inverses[uuid]) is not None
        and inverse.action_type == "change_node_power_state"
        and not moves & _all_before(uuid, waits)
    )
    for uuid, own in waits.items():
        if opening in own:
            waits[uuid] = own | old  # who waited for the opening waits for what it stood for


def _all_before(uuid: str, waits: Mapping[str, frozenset[str]]) -> set[str]:
    """Everything that `uuid` waits for, near and far. O(actions + parents)."""
    found: set[str] = set()
    open_ones = [uuid]
    while open_ones:
        new = waits[open_ones.pop()] - found
        found |= new
        open_ones += new
    return found


def _last_first(actions: Sequence[Action], children: Mapping[str, Sequence[str]]) -> list[str]:
    """Every action after all that depend on it."""
    open_children = {uuid: len(found) for uuid, found in children.items()}
    parents = {action.uuid: action.parents for action in actions}
    ready = [uuid for uuid, number in open_children.items() if number == 0]
    order = []
    while ready:
        uuid = ready.pop()
        order.append(uuid)
        for parent in parents[uuid]:
            if parent in open_children:
                open_children[parent] -= 1
                if open_children[parent] == 0:
                    ready.append(parent)
    return order
