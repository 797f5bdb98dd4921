"""The action `start`: boots a server that is shut off; it undoes `stop`."""

from __future__ import annotations

from typing import Any, ClassVar

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.domain.errors import DeadlineExceeded, Unavailable

ACTIVE = "active"
WITHIN_S = 80.0


class Start(ActionPlugin):
    """Starts and waits until it runs (B-238, B-303). No strategy plans it, rollbacks do."""

    action_type: ClassVar[str] = "start"
    description: ClassVar[str] = "Start a VM instance"
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
        """The server exists and is shut off."""
        uuid = self.context.parameters["resource_id"]
        server = await self.context.nova.server(uuid)
        if server is None:
            raise ActionSkipped(f"Instance {uuid} not found")
        if server.status != "SHUTOFF":
            raise ActionSkipped(f"Instance {uuid} is not shut off but {server.status}")
        self.context.intend(prior_status=server.status)

    async def execute(self) -> bool:
        """Asks Nova unless it is done or under way."""
        uuid, clock = self.context.parameters["resource_id"], self.context.clock
        asking = Asking(self.context, lambda: self.context.nova.start(uuid))
        until = clock.monotonic() + WITHIN_S
        while clock.monotonic() < until:
            try:
                server = await self.context.nova.server(uuid)
            except (Unavailable, DeadlineExceeded):
                await clock.sleep(self.context.limits.poll_s)
                continue
            if server is None:
                raise ActionFailed(f"Instance {uuid} is gone")
            if server.vm_state == ACTIVE:
                return True
            if server.status == "ERROR":
                raise ActionFailed(f"Instance {uuid} is in ERROR")
            if server.task_state is None:
                await asking.found_no_trace()
            await clock.sleep(self.context.limits.poll_s)
        raise ActionFailed(f"Instance {uuid} did not start within {WITHIN_S:g} s")
