"""Whether a plan still fits the cloud when it is started: one look at all it relies on (DESIGN 7).

A plan some of whose facts changed is not begun (B-264): half of it carried out may be worse than none. Each
action looks again before its own turn, because a plan may run for hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from trimtab_applier import facts as compare
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action
from trimtab_common.openstack.nova_writes import NovaWrites, ServerView, ServiceView

log = structlog.get_logger(__name__)
MODEL_AGE = timedelta(minutes=10)
"""A plan is made of a model that was read a little earlier, by a clock that may differ from Nova's."""


async def changes_since(
    nova: NovaWrites, made_at: datetime | None, actions: Sequence[Action]
) -> dict[str, str]:
    """By action, in words, what it relies on and what is so no more. Two lists, whatever the size.

    Empty when Nova does not answer: then the actions, which look again, have the last word.
    """
    relying = [a for a in actions if a.facts and a.state is ActionState.PENDING]
    if not relying or made_at is None:
        return {}
    try:
        services = {service.host: service for service in await nova.compute_services()}
        servers = await nova.changed_servers(since=made_at - MODEL_AGE)
    except TrimtabError as error:
        log.warning("facts not compared before the start", problem=error.message)
        return {}
    found = {action.uuid: _changes(action, servers, services) for action in relying}
    return {uuid: "; ".join(changes) for uuid, changes in found.items() if changes}


def _changes(
    action: Action, servers: Mapping[str, ServerView], services: Mapping[str, ServiceView]
) -> list[str]:
    facts, given = action.facts or {}, action.input_parameters
    if action.action_type == "change_nova_service_state":
        service = services.get(str(given.get("resource_name") or facts.get("host")))
        if service is None or given.get("state") != "enabled":
            return []
        return _named(service.host, compare.host_changes(facts, service))
    server = servers.get(str(given.get("resource_id")))
    changes = [] if server is None else _named(server.uuid, compare.server_changes(facts, server))
    if given.get("destination_node"):
        changes += compare.destination_changes(facts, services.get(given["destination_node"]))
    return changes


def _named(what: str, changes: list[str]) -> list[str]:
    return [f"{what}: {change}" for change in changes]
