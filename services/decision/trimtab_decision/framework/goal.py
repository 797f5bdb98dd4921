"""What a goal is: a name and the promises (efficacy indicators) by which its plans are compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
"""The JSON schema of a count."""
AMOUNT: Mapping[str, Any] = {"type": "number", "minimum": 0}
"""The JSON schema of a non-negative number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorSpec:
    """One indicator that strategies of a goal set. `schema`: the JSON schema of its value."""

    name: str
    description: str
    unit: str | None = None
    schema: Mapping[str, Any] = field(default_factory=lambda: COUNT)
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalIndicatorSpec:
    """One number of a plan's global efficacy, computed from its indicators."""

    name: str
    description: str
    unit: str | None
    formula: Callable[[Mapping[str, float]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficacySpecification:
    """The indicators of a goal, in order, and what is computed from them. Empty: Unclassified.

    objective: what a plan is worth to the goal, by its indicators; the more the better, 0 for a plan
    that brings nothing. None where plans of different strategies cannot be compared (A-151).
    """

    indicators: tuple[IndicatorSpec, ...] = ()
    global_indicators: tuple[GlobalIndicatorSpec, ...] = ()
    objective: Callable[[Mapping[str, float]], float] | None = None

    def as_dicts(self) -> list[dict[str, Any]]:
        """As the goal API shows it: name, description, unit, schema as JSON text (B-010)."""
        return [
            {
                "name": spec.name,
                "description": spec.description,
                "unit": spec.unit,
                "schema": json.dumps(spec.schema),
            }
            for spec in self.indicators
        ]

    def combined_schema(self) -> dict[str, Any]:
        """The one JSON schema that the map of indicators must match (B-011)."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {spec.name: dict(spec.schema) for spec in self.indicators},
        }
        required = [spec.name for spec in self.indicators if spec.required]
        if required:
            schema["required"] = required
        return schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What an operator wants of the cloud."""

    name: str
    display_name: str
    efficacy: EfficacySpecification = field(default_factory=EfficacySpecification)
