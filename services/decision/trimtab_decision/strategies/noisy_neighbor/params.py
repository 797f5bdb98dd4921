"""Parameters of noisy_neighbor (§6.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "cache_threshold": {
            "description": "Percent by which the cache use of a server changes when it is a victim "
            "or noisy.",
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "default": 35.0,
        },
        "period": {
            "description": "Seconds over which the cache use is aggregated",
            "type": "number",
            "minimum": 0,
            "default": 100.0,
        },
        **compute_options(),
    },
    "additionalProperties": False,
}
