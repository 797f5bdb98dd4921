"""Parameters of the actuator strategy (B-083)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "actions": {
            "description": "The actions to put into the plan, in this order.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "action_type": {"type": "string"},
                    "resource_id": {"type": "string"},
                    "input_parameters": {"type": "object"},
                },
                "required": ["action_type", "input_parameters"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["actions"],
    "additionalProperties": False,
}
