"""Parameters of dummy_with_scorer (B-082): those of dummy, under other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.dummy.params import SCHEMA as DUMMY

SCHEMA: Mapping[str, Any] = {
    **DUMMY,
    "properties": {
        "param1": {**DUMMY["properties"]["para1"], "description": "number parameter example"},
        "param2": {**DUMMY["properties"]["para2"], "description": "string parameter example"},
    },
}
