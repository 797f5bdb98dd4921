"""Workload characters: what a server's work is like, as conditions on its resources (B-320 to B-325).

A character is a few performance units ("cpu_util > 90 %", with a weight) joined by AND and OR.
`rules.workload_grammar` reads and writes texts; here a character is judged by values.
Source: the specification workload-characterization-grammar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trimtab_common.domain.errors import InvalidArgument

HIGHEST_PRIORITY, LOWEST_PRIORITY = -20, 19
"""Bounds of a weight: like a process's niceness, the smaller the more important."""
MAX_UNITS = 50
_MAX_DEPTH = 20


class CharacterRefused(InvalidArgument):
    """The text is no workload character; the message says where and why."""

    reason = "WORKLOAD_CHARACTER_REFUSED"


class ValueMissing(InvalidArgument):
    """A required property has no value to be judged by."""

    reason = "WORKLOAD_VALUE_MISSING"


class Operator(StrEnum):
    """TOSCA's names of the comparisons."""

    EQUAL = "equal"
    GREATER_THAN = "greater_than"
    LESS_THAN = "less_than"
    GREATER_OR_EQUAL = "greater_or_equal"
    LESS_OR_EQUAL = "less_or_equal"
    IN_RANGE = "in_range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One comparison. `upper` is the end of a range, inclusive; infinite when it is open."""

    operator: Operator
    value: float
    upper: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether the value satisfies it."""
        match self.operator:
            case Operator.EQUAL:
                return value == self.value
            case Operator.GREATER_THAN:
                return value > self.value
            case Operator.LESS_THAN:
                return value < self.value
            case Operator.GREATER_OR_EQUAL:
                return value >= self.value
            case Operator.LESS_OR_EQUAL:
                return value <= self.value
        return self.value <= value <= self.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceUnit:
    """Conditions on one resource, all of which must hold.

    unit: of the values, as the metric service has it; empty when the text names none.
    """

    resource: str
    constraints: tuple[Constraint, ...]
    unit: str = ""
    weight: int = 0
    is_required: bool = True

    @property
    def importance(self) -> int:
        """40 for the highest priority down to 1 for the lowest."""
        return LOWEST_PRIORITY + 1 - self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """AND or OR of resources and other formulas."""

    is_and: bool
    parts: tuple[str | Formula, ...]

    def resources(self) -> frozenset[str]:
        """Every resource named anywhere in it."""
        return frozenset().union(
            *(part.resources() if isinstance(part, Formula) else {part} for part in self.parts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What values say of a character. properties: by resource, those that had a value.

    score: 0..1, the importance of what holds in that of all that had a value.
    """

    is_match: bool
    properties: Mapping[str, bool]
    score: float

    def reaches(self, threshold: float) -> bool:
        """Whether the weights of what holds come to this part of all, 0..1."""
        return self.score >= threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadCharacter:
    """A named set of performance units and how they are joined."""

    units: tuple[PerformanceUnit, ...]
    formula: Formula
    name: str = ""

    @property
    def resources(self) -> tuple[str, ...]:
        """What must be measured to judge it, in the order of the text."""
        return tuple(unit.resource for unit in self.units)

    def evaluate(self, values: Mapping[str, float | None]) -> Evaluation:
        """Judges values by resource. ValueMissing when a required one is missing or no number.

        A property that is not required and has no value is left out of the formula.
        """
        properties: dict[str, bool] = {}
        reached = total = 0
        for unit in self.units:
            value = values.get(unit.resource)
            if value is None or math.isnan(value):
                if unit.is_required:
                    raise ValueMissing(f"There is no value of the required {unit.resource}.")
                continue
            holds = all(constraint.holds(value) for constraint in unit.constraints)
            properties[unit.resource] = holds
            total += unit.importance
            reached += unit.importance if holds else 0
        return Evaluation(
            is_match=bool(_judged(self.formula, properties)),
            properties=properties,
            score=reached / total if total else 0.0,
        )


def all_of(units: tuple[PerformanceUnit, ...]) -> Formula:
    """The formula of a character that names none."""
    return Formula(is_and=True, parts=tuple(unit.resource for unit in units))


_TOKEN = re.compile(r"\s*(?:\{([^{}]*)\}|(\()|(\))|(and|or)\b|(\S))", re.IGNORECASE)


def parse_formula(text: str) -> Formula:
    """The formula of a text such as '{a} and ({b} or {c})'; AND binds closer. CharacterRefused.

    The text is read, never run.
    """
    tokens: list[str] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None or found[5]:
            raise CharacterRefused(f"{text!r} is no formula: {text[position:].strip()[:20]!r}.")
        if found[1] is not None:
            name = found[1].strip()
            if not name:
                raise CharacterRefused(f"{text!r} has braces without a property.")
            tokens.append("{" + name)
        else:
            tokens.append(found[0].strip().lower())
        position = found.end()
    return _Reader(text, tokens).read()


class _Reader:
    """Recursive descent over the tokens of one formula; depth is limited."""

    def __init__(self, text: str, tokens: list[str]) -> None:
        self._text = text
        self._tokens = [*tokens, ""]
        self._at = 0

    def read(self) -> Formula:
        found = self._joined("or", 0)
        if self._tokens[self._at]:
            raise self._refused()
        return found if isinstance(found, Formula) else Formula(is_and=True, parts=(found,))

    def _joined(self, word: str, depth: int) -> str | Formula:
        parts = [self._part(word, depth)]
        while self._tokens[self._at] == word:
            self._at += 1
            parts.append(self._part(word, depth))
        return parts[0] if len(parts) == 1 else Formula(is_and=word == "and", parts=tuple(parts))

    def _part(self, word: str, depth: int) -> str | Formula:
        if word == "or":
            return self._joined("and", depth)
        if self._tokens[self._at].startswith("{"):
            self._at += 1
            return self._tokens[self._at - 1][1:]
        if self._tokens[self._at] != "(" or depth >= _MAX_DEPTH:
            raise self._refused()
        self._at += 1
        inner = self._joined("or", depth + 1)
        if self._tokens[self._at] != ")":
            raise self._refused()
        self._at += 1
        return inner

    def _refused(self) -> CharacterRefused:
        token = self._tokens[self._at].lstrip("{") or "its end"
        return CharacterRefused(f"{self._text!r} is no formula: unexpected {token}.")


def _judged(formula: Formula, properties: Mapping[str, bool]) -> bool | None:
    """None when nothing in it had a value."""
    found = [
        _judged(part, properties) if isinstance(part, Formula) else properties.get(part)
        for part in formula.parts
    ]
    known = [value for value in found if value is not None]
    if not known:
        return None
    return all(known) if formula.is_and else any(known)
