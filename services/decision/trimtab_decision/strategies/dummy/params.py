"""Parameters of the dummy strategy (B-080)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "para1": {
            "description": "number parameter example: how long the plan sleeps, in seconds",
            "type": "number",
            "default": 3.2,
            "minimum": 1.0,
            "maximum": 10.2,
        },
        "para2": {
            "description": "string parameter example: the message of the second nop",
            "type": "string",
            "default": "hello",
        },
    },
    "additionalProperties": False,
}
