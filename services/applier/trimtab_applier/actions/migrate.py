"""The action `migrate`: moves a server to another host, live or cold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.actions.move import Move, note_before
from trimtab_applier.errors import ActionFailed, ActionSkipped, check_facts
from trimtab_common.domain.facts import server_changes
from trimtab_common.domain.records import Json

LIVE = "live"
CAN_MOVE_LIVE = frozenset({"ACTIVE", "PAUSED"})


class Migrate(ActionPlugin):
    """Live or cold migration, to a named host or where Nova likes (B-232..B-235)."""

    action_type: ClassVar[str] = "migrate"
    description: ClassVar[str] = "Moving a VM instance from source_node to destination_node"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
            "migration_type": {"type": "string", "enum": ["live", "cold"]},
            "source_node": {"type": "string", "minLength": 1},
            "destination_node": {"type": ["string", "null"]},
        },
        "required": ["resource_id", "migration_type", "source_node"],
        "additionalProperties": False,
    }

    @classmethod
    def is_abortable(cls, parameters: Mapping[str, Json]) -> bool:
        """Only live: Nova has no way back from a cold migration on its way."""
        return bool(parameters.get("migration_type") == LIVE)

    @classmethod
    def lanes(cls, parameters: Mapping[str, Json]) -> tuple[str, ...]:
        """A move, out of one host and, if it is named, into another."""
        lanes = ("move", f"out:{parameters.get('source_node')}")
        destination = parameters.get("destination_node")
        return (*lanes, f"in:{destination}") if destination else lanes

    async def pre_condition(self) -> None:
        """The server is still where the plan found it, and the destination takes servers."""
        given, uuid = self.context.parameters, self.context.parameters["resource_id"]
        server = await self.context.nova.server(uuid)
        if server is None:
            raise ActionSkipped(f"Instance {uuid} not found")
        if server.host != given["source_node"] and server.host == self._destination:
            raise ActionSkipped(f"Instance {uuid} is already on destination node {server.host}")
        if server.host != given["source_node"]:
            raise ActionSkipped(
                f"Instance {uuid} is not on source node {given['source_node']} but on {server.host}"
            )
        if self._destination is not None:
            await self._check_destination(self._destination)
        if given["migration_type"] == LIVE and server.status not in CAN_MOVE_LIVE:
            raise ActionFailed(
                f"Instance {uuid} is {server.status}; only ACTIVE or PAUSED ones move live"
            )
        check_facts(server_changes(self.context.facts, server), f"Instance {uuid}")
        await note_before(self.context, server)

    async def execute(self) -> bool:
        """Asks Nova and follows the move."""
        return await self._move().run(is_new=True)

    async def resume(self) -> bool:
        """Looks for the move first."""
        return await self._move().run(is_new=False)

    async def abort(self) -> bool:
        """Stops a live migration."""
        return await self._move().abort()

    @property
    def _destination(self) -> str | None:
        return self.context.parameters.get("destination_node") or None

    async def _check_destination(self, host: str) -> None:
        services = await self.context.nova.compute_services()
        service = next((service for service in services if service.host == host), None)
        if service is None:
            raise ActionFailed(f"Destination node {host} not found")
        if service.status != "enabled":
            raise ActionFailed(f"Destination node {host} is not in enabled state")
        if service.state != "up":
            raise ActionFailed(f"Destination node {host} is {service.state}")

    def _move(self) -> Move:
        nova, server = self.context.nova, self.context.parameters["resource_id"]
        ask = (
            nova.live_migrate
            if self.context.parameters["migration_type"] == LIVE
            else nova.cold_migrate
        )
        return Move(
            self.context,
            server=server,
            destination=self._destination,
            request=lambda: ask(server, self._destination),
        )
