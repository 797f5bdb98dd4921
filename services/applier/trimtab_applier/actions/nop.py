"""The action `nop`: does nothing, or fails where it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import structlog

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.domain.records import Json

log = structlog.get_logger(__name__)
_FLAG = {"type": "boolean", "default": False}


class Nop(ActionPlugin):
    """Logs its message; its flags force an outcome per phase (B-240)."""

    action_type: ClassVar[str] = "nop"
    description: ClassVar[str] = "Logging a NOP message"
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "message": {"type": ["string", "null"]},
            "skip_pre_condition": _FLAG,
            "fail_pre_condition": _FLAG,
            "fail_execute": _FLAG,
            "fail_post_condition": _FLAG,
        },
        "required": ["message"],
        "additionalProperties": False,
    }

    def _told_to(self, flag: str) -> bool:
        return bool(self.context.parameters.get(flag, False))

    @classmethod
    def is_abortable(cls, parameters: Mapping[str, Json]) -> bool:
        """Always."""
        del parameters
        return True

    async def pre_condition(self) -> None:
        """Skips or fails if told to."""
        if self._told_to("skip_pre_condition"):
            raise ActionSkipped("Skipped in pre_condition")
        if self._told_to("fail_pre_condition"):
            raise ActionFailed("Failed in pre_condition")

    async def execute(self) -> bool:
        """Logs the message."""
        log.debug("nop", action=self.context.uuid, message=self.context.parameters["message"])
        return not self._told_to("fail_execute")

    async def post_condition(self) -> None:
        """Fails if told to."""
        if self._told_to("fail_post_condition"):
            raise ActionFailed("Failed in post_condition")

    async def abort(self) -> bool:
        """There is nothing to undo."""
        return True
