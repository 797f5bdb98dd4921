"""What `start` and `stop` share: asking Nova for a state of a server and waiting until it is there."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.domain.errors import DeadlineExceeded, Unavailable
from trimtab_common.openstack.nova_writes import ServerView

WITHIN_S = 80.0


class ServerStateAction(ActionPlugin):
    """An action whose end is a `vm_state`."""

    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
        },
        "required": ["resource_id"],
        "additionalProperties": False,
    }

    @property
    def uuid(self) -> str:
        """The server's."""
        return str(self.context.parameters["resource_id"])

    async def existing(self) -> ServerView:
        """The server now; ActionSkipped when there is none."""
        server = await self.context.nova.server(self.uuid)
        if server is None:
            raise ActionSkipped(f"Instance {self.uuid} not found")
        return server

    @abstractmethod
    async def ask(self) -> None:
        """The one request."""

    @abstractmethod
    def is_there(self, server: ServerView | None) -> bool:
        """Whether it has come to its end; None: Nova has no such server. ActionFailed: never will."""

    async def execute(self) -> bool:
        """Asks Nova unless it is done or under way."""
        clock, poll_s = self.context.clock, self.context.limits.poll_s
        asking = Asking(self.context, self.ask)
        until = clock.monotonic() + WITHIN_S
        while clock.monotonic() < until:
            try:
                server = await self.context.nova.server(self.uuid)
            except (Unavailable, DeadlineExceeded):
                await clock.sleep(poll_s)
                continue
            if self.is_there(server):
                return True
            if server is not None and server.task_state is None:
                await asking.found_no_trace()
            await clock.sleep(poll_s)
        raise ActionFailed(f"Instance {self.uuid} did not {self.action_type} within {WITHIN_S:g} s")
