"""The action `stop`: shuts a server off."""

from __future__ import annotations

from typing import ClassVar

from trimtab_applier.actions.server_state import ServerStateAction
from trimtab_applier.errors import ActionSkipped, check_facts
from trimtab_common.domain.facts import server_changes
from trimtab_common.openstack.nova_writes import ServerView


class Stop(ServerStateAction):
    """Stops and waits until it is stopped (B-238)."""

    action_type: ClassVar[str] = "stop"
    description: ClassVar[str] = "Stop a VM instance"

    async def pre_condition(self) -> None:
        """The server exists and runs."""
        server = await self.existing()
        if server.status == "SHUTOFF":
            raise ActionSkipped(f"Instance {self.uuid} is already stopped")
        check_facts(server_changes(self.context.facts, server), f"Instance {self.uuid}")
        self.context.intend(prior_status=server.status)

    async def ask(self) -> None:
        """Stops it."""
        await self.context.nova.stop(self.uuid)

    def is_there(self, server: ServerView | None) -> bool:
        """Stopped, or gone meanwhile."""
        return server is None or server.vm_state == "stopped"
