"""The action `start`: boots a server that is shut off; it undoes `stop`."""

from __future__ import annotations

from typing import ClassVar

from trimtab_applier.actions.server_state import ServerStateAction
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.openstack.nova_writes import ServerView


class Start(ServerStateAction):
    """Starts and waits until it runs (B-238, B-303). No strategy plans it, rollbacks do."""

    action_type: ClassVar[str] = "start"
    description: ClassVar[str] = "Start a VM instance"

    async def pre_condition(self) -> None:
        """The server exists and is shut off."""
        server = await self.existing()
        if server.status != "SHUTOFF":
            raise ActionSkipped(f"Instance {self.uuid} is not shut off but {server.status}")
        self.context.intend(prior_status=server.status)

    async def ask(self) -> None:
        """Starts it."""
        await self.context.nova.start(self.uuid)

    def is_there(self, server: ServerView | None) -> bool:
        """Active; one that is gone or in ERROR will not be."""
        if server is None:
            raise ActionFailed(f"Instance {self.uuid} is gone")
        if server.vm_state != "active" and server.status == "ERROR":
            raise ActionFailed(f"Instance {self.uuid} is in ERROR")
        return server.vm_state == "active"
