"""Parameters of node_resource_consolidation (§6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "host_choice": {
            "description": "The way to select the server migration destination node: `auto` leaves "
            "it to Nova's scheduler, `specify` names it.",
            "type": "string",
            "enum": ["auto", "specify"],
            "default": "auto",
        },
        **compute_options(),
    },
    "additionalProperties": False,
}
