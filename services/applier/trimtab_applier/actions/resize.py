"""The action `resize`: gives a server another flavor."""

from __future__ import annotations

from typing import Any, ClassVar

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.actions.move import Move, note_before
from trimtab_applier.errors import ActionFailed, ActionSkipped, check_facts
from trimtab_common.domain.facts import server_changes


class Resize(ActionPlugin):
    """Resizes and confirms (B-237)."""

    action_type: ClassVar[str] = "resize"
    description: ClassVar[str] = "Resize a server with specified flavor."
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
            "flavor": {"type": "string", "minLength": 1},
        },
        "required": ["resource_id", "flavor"],
        "additionalProperties": False,
    }

    async def pre_condition(self) -> None:
        """The server and the flavor exist."""
        uuid, flavor = self.context.parameters["resource_id"], self.context.parameters["flavor"]
        server = await self.context.nova.server(uuid)
        if server is None:
            raise ActionSkipped(f"Instance {uuid} not found")
        flavor_id = await self.context.nova.flavor_id(flavor)
        if flavor_id is None:
            raise ActionFailed(f"Flavor {flavor} not found")
        check_facts(server_changes(self.context.facts, server), f"Instance {uuid}")
        await note_before(self.context, server)
        self.context.intend(flavor_id=flavor_id)

    async def execute(self) -> bool:
        """Asks Nova and follows the move."""
        return await self._move().run(is_new=True)

    async def resume(self) -> bool:
        """Looks for the move first."""
        return await self._move().run(is_new=False)

    def _move(self) -> Move:
        server = self.context.parameters["resource_id"]
        return Move(
            self.context,
            server=server,
            destination=None,
            request=lambda: self.context.nova.resize(server, self.context.intent["flavor_id"]),
            may_stay=True,
        )
