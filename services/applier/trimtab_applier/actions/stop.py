"""The action `stop`: shuts a server off."""

from __future__ import annotations

from typing import Any, ClassVar

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped, check_facts
from trimtab_applier.facts import server_changes
from trimtab_common.domain.errors import DeadlineExceeded, Unavailable

STOPPED = "stopped"
WITHIN_S = 80.0


class Stop(ActionPlugin):
    """Stops and waits until it is stopped (B-238)."""

    action_type: ClassVar[str] = "stop"
    description: ClassVar[str] = "Stop a VM instance"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
        },
        "required": ["resource_id"],
        "additionalProperties": False,
    }

    async def pre_condition(self) -> None:
        """The server exists and runs."""
        uuid = self.context.parameters["resource_id"]
        server = await self.context.nova.server(uuid)
        if server is None:
            raise ActionSkipped(f"Instance {uuid} not found")
        if server.status == "SHUTOFF":
            raise ActionSkipped(f"Instance {uuid} is already stopped")
        check_facts(server_changes(self.context.facts, server), f"Instance {uuid}")
        self.context.intend(prior_status=server.status)

    async def execute(self) -> bool:
        """Asks Nova unless it is done or under way; a server that is gone meanwhile is stopped."""
        uuid, clock = self.context.parameters["resource_id"], self.context.clock
        asking = Asking(self.context, lambda: self.context.nova.stop(uuid))
        until = clock.monotonic() + WITHIN_S
        while clock.monotonic() < until:
            try:
                server = await self.context.nova.server(uuid)
            except (Unavailable, DeadlineExceeded):
                await clock.sleep(self.context.limits.poll_s)
                continue
            if server is None or server.vm_state == STOPPED:
                return True
            if server.task_state is None:
                await asking.found_no_trace()
            await clock.sleep(self.context.limits.poll_s)
        raise ActionFailed(f"Instance {uuid} did not stop within {WITHIN_S:g} s")
