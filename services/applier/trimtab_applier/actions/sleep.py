"""The action `sleep`: waits, so that what ran before can settle."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_common.domain.records import Json


class Sleep(ActionPlugin):
    """Waits `duration` seconds. After a crash it waits only for what is left of them."""

    action_type: ClassVar[str] = "sleep"
    description: ClassVar[str] = "Wait for a given interval in seconds."
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {"duration": {"type": "number", "minimum": 0}},
        "required": ["duration"],
        "additionalProperties": False,
    }

    @classmethod
    def is_abortable(cls, parameters: Mapping[str, Json]) -> bool:
        """Always."""
        del parameters
        return True

    async def pre_condition(self) -> None:
        """Notes when the waiting ends."""
        self.context.intend(started_at=self.context.clock.now().isoformat())

    async def execute(self) -> bool:
        """Waits."""
        await self.context.clock.sleep(float(self.context.parameters["duration"]))
        return True

    async def resume(self) -> bool:
        """Waits for the rest."""
        started_at = datetime.fromisoformat(self.context.intent["started_at"])
        waited_s = (self.context.clock.now() - started_at).total_seconds()
        await self.context.clock.sleep(
            max(0.0, float(self.context.parameters["duration"]) - waited_s)
        )
        return True

    async def abort(self) -> bool:
        """The waiting is over."""
        return True
