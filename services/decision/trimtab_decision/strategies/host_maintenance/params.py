"""Parameters of host_maintenance (§6.13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "maintenance_node": {
            "description": "The name of the compute node which needs maintenance",
            "type": "string",
        },
        "backup_node": {
            "description": "The name of the compute node that takes all its servers",
            "type": "string",
        },
        "disable_live_migration": {
            "description": "Never live-migrate: active servers are cold-migrated, or stopped when "
            "cold migration is disabled too.",
            "type": "boolean",
            "default": False,
        },
        "disable_cold_migration": {
            "description": "Never cold-migrate: servers that are not active stay.",
            "type": "boolean",
            "default": False,
        },
        "check_optimize_metadata": {
            "description": "Act only on servers whose metadata `optimize` is true.",
            "type": "boolean",
            "default": False,
        },
    },
    "required": ["maintenance_node"],
    "additionalProperties": False,
}
