"""Parameters of saving_energy (§6.11), with the names of the specification as aliases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import SEED

_PERCENT = "Percent of the hosts with servers that should be powered on and free besides"
_NUMBER = "The fewest hosts that should be powered on and free"

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "free_used_percent": {
            "description": f"{_PERCENT}.",
            "type": "number",
            "minimum": 0,
            "default": 10.0,
        },
        "min_free_hosts_num": {
            "description": f"{_NUMBER}.",
            "type": "integer",
            "minimum": 1,
            "default": 1,
        },
        "standby_used_percent": {
            "description": f"{_PERCENT}; the specification's name of free_used_percent, wins when "
            "given.",
            "type": "number",
            "minimum": 0,
        },
        "standby_nodes_int": {
            "description": f"{_NUMBER}; the specification's name of min_free_hosts_num, wins when "
            "given.",
            "type": "integer",
            "minimum": 1,
        },
        "seed": dict(SEED),
    },
    "additionalProperties": False,
}
