"""Parameters of storage_capacity_balance (§6.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "volume_threshold": {
            "description": "Percent of a pool's capacity at which volumes leave it.",
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "default": 80.0,
        },
        "ex_pools": {
            "description": "Names of pools that are left alone.",
            "type": "array",
            "items": {"type": "string"},
            "default": ["local_vstorage"],
        },
    },
    "additionalProperties": False,
}
