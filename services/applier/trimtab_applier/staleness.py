"""Whether a plan still fits the cloud when it is started: one look at all it relies on (DESIGN 7).

A plan some of whose facts changed is not begun (B-264): half of it carried out may be worse than none. Each
action looks again before its own turn, because a plan may run for hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from trimtab_common.domain import facts
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action
from trimtab_common.openstack.nova_writes import NovaWrites

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
    found = {action.uuid: facts.changes(action, servers, services) for action in relying}
    return {uuid: "; ".join(words) for uuid, words in found.items() if words}
