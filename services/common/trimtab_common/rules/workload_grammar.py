"""Texts of workload characters: TOSCA YAML, one line, and a server's metadata (B-320 to B-325).

TOSCA is the form of the specification. One line is the same in short, for metadata, whose values
Nova limits to 255 bytes: `cpu_bound: vcpus = 2 cores [-20] or cpu_util > 90 % [19]`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from trimtab_common.domain.workloads import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    MAX_UNITS,
    CharacterRefused,
    Constraint,
    Formula,
    Operator,
    PerformanceUnit,
    WorkloadCharacter,
    all_of,
    parse_formula,
)

KEY = "watcher-workload-grammar"
"""The metadata key that is written; continued as KEY.1, KEY.2 and so on."""
OLD_KEY = "workload_character"
"""The key of the specification's examples; read, never written."""
MAX_VALUE_BYTES = 255
"""Nova's limit of one metadata value."""
_MAX_TEXT = 16_384
_CACHED = 4096

_MIB: Mapping[str, float] = {"MB": 1, "MiB": 1, "GB": 1024, "GiB": 1024, "KB": 1 / 1024}
_GIB: Mapping[str, float] = {"GB": 1, "GiB": 1, "MB": 1 / 1024, "MiB": 1 / 1024}
_RATE: Mapping[str, float] = {"counts/s": 1, "count/s": 1, "1/s": 1, "IOPS": 1, "iops": 1}
_UNITS: Mapping[str, Mapping[str, float]] = {
    "vcpus": {"cores": 1, "Cores": 1, "core": 1, "vcpu": 1, "vcpus": 1},
    "cpu_util": {"%": 1, "percent": 1},
    "memory": _MIB,
    "memory.usage": _MIB,
    "disk": _GIB,
    "disk.device.iops": _RATE,
    "disk_iops": _RATE,
}
"""Units of the resources that Nova and the metric services name; Nova's MB are MiB."""
_SIGNS = {
    "=": Operator.EQUAL,
    "==": Operator.EQUAL,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
    ">=": Operator.GREATER_OR_EQUAL,
    "<=": Operator.LESS_OR_EQUAL,
}
_WRITTEN = {operator: sign for sign, operator in _SIGNS.items() if sign != "=="}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LINE_UNIT = re.compile(
    rf"(?P<resource>[\w.\-]+)\s*(?:(?P<sign>>=|<=|==|=|>|<)\s*(?P<value>{_NUMBER})"
    rf"|in\s+(?P<lower>{_NUMBER})\.\.(?P<upper>{_NUMBER}|inf))"
    r"\s*(?P<unit>(?!(?:and|or)\b)[%\w/]+)?\s*(?:\[(?P<weight>[+-]?\d+)\])?(?P<optional>\?)?"
)
_NAMED = re.compile(r"\s*([\w\-]+)\s*(?::|=(?=\s*\())\s*")


def parse(text: str) -> WorkloadCharacter:
    """The character of a text in either form. CharacterRefused says what is wrong."""
    if len(text) > _MAX_TEXT:
        raise CharacterRefused(f"A workload character has at most {_MAX_TEXT} characters.")
    return parse_tosca(text) if "properties" in text else parse_line(text)


def parse_tosca(text: str) -> WorkloadCharacter:
    """The character of a TOSCA node type called `watcher`. CharacterRefused."""
    import yaml  # noqa: PLC0415, planning workers start without it

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CharacterRefused(f"This is not valid YAML: {error}.") from None
    node = content.get("watcher") if isinstance(content, dict) else None
    if not isinstance(node, dict):
        raise CharacterRefused("A workload character is a YAML mapping with the member `watcher`.")
    properties = node.get("properties")
    if not isinstance(properties, dict) or not 0 < len(properties) <= MAX_UNITS:
        raise CharacterRefused(f"`properties` must name 1 to {MAX_UNITS} resources.")
    units = tuple(_tosca_unit(str(name), value) for name, value in properties.items())
    description = node.get("description")
    if description is not None and not isinstance(description, str):
        raise CharacterRefused("`description` must be a text.")
    name = node.get("name", "")
    return _character(units, description or "", str(name))


def parse_line(text: str) -> WorkloadCharacter:
    """The character of one line. CharacterRefused."""
    named = _NAMED.match(text)
    name = named[1] if named else ""
    rest = text[named.end() :] if named else text
    units: dict[str, PerformanceUnit] = {}

    def replaced(found: re.Match[str]) -> str:
        unit = _line_unit(found)
        if unit.resource in units:
            raise CharacterRefused(f"{unit.resource} is named twice; use a range for two bounds.")
        units[unit.resource] = unit
        return f" {{{unit.resource}}} "

    formula = _LINE_UNIT.sub(replaced, rest)
    if not 0 < len(units) <= MAX_UNITS:
        raise CharacterRefused(f"{text[:60]!r} names no resource, or more than {MAX_UNITS}.")
    return _character(tuple(units.values()), formula, name)


def write_line(character: WorkloadCharacter) -> str:
    """The character in one line, which `parse_line` reads as the same.

    CharacterRefused when one line cannot hold it: several constraints of one resource, or one that
    the formula does not name exactly once.
    """
    if sorted(_named(character.formula)) != sorted(character.resources):
        raise CharacterRefused("In one line each resource stands exactly once; write TOSCA YAML.")
    units = {unit.resource: _written(unit) for unit in character.units}
    text = _joined(character.formula, units, is_inner=False)
    return f"{character.name}: {text}" if character.name else text


def to_metadata(character: WorkloadCharacter) -> dict[str, str]:
    """The character as a server's metadata, in as many values as it needs (B-323)."""
    text, pieces = write_line(character), []
    while text:
        piece = text.encode()[:MAX_VALUE_BYTES].decode(errors="ignore")
        pieces.append(piece)
        text = text[len(piece) :]
    return {KEY if i == 0 else f"{KEY}.{i}": piece for i, piece in enumerate(pieces)}


def text_in(metadata: Mapping[str, str]) -> str:
    """The text of a character in a server's metadata, its pieces joined; empty when it has none."""
    if KEY not in metadata:
        return metadata.get(OLD_KEY, "")
    pieces = [metadata[KEY]]
    while (more := metadata.get(f"{KEY}.{len(pieces)}")) is not None:
        pieces.append(more)
    return "".join(pieces)


@lru_cache(_CACHED)
def cached(text: str) -> WorkloadCharacter | CharacterRefused:
    """`parse`, remembered; the error in place of raising it, since one bad text stops nothing."""
    try:
        return parse(text)
    except CharacterRefused as error:
        return error


def _character(
    units: tuple[PerformanceUnit, ...], description: str, name: str
) -> WorkloadCharacter:
    formula: Formula = parse_formula(description) if "{" in description else all_of(units)
    known = {unit.resource for unit in units}
    unknown = sorted(formula.resources() - known)
    if unknown:
        raise CharacterRefused(
            f"The description names {', '.join(unknown)}, which is no property; "
            f"there are {', '.join(sorted(known))}."
        )
    return WorkloadCharacter(units=units, formula=formula, name=name)


def _tosca_unit(name: str, value: Any) -> PerformanceUnit:
    if not isinstance(value, dict):
        raise CharacterRefused(f"Property {name} must be a mapping.")
    unknown = value.keys() - {"required", "weight", "type", "constraints", "unit", "description"}
    if unknown:
        raise CharacterRefused(f"Property {name} has the unknown member {min(map(str, unknown))}.")
    kind = value.get("type", "float")
    if kind not in ("integer", "float"):
        raise CharacterRefused(f"The type of {name} must be integer or float, got {kind!r}.")
    required = value.get("required", True)
    if not isinstance(required, bool):
        raise CharacterRefused(f"`required` of {name} must be true or false.")
    constraints = value.get("constraints")
    if not isinstance(constraints, list) or not constraints:
        raise CharacterRefused(f"Property {name} needs a list of constraints.")
    return PerformanceUnit(
        resource=name,
        constraints=tuple(
            _scaled(name, str(value.get("unit", "")), _tosca_constraint(name, kind, one))
            for one in constraints
        ),
        unit=str(value.get("unit", "")),
        weight=_weight(name, value.get("weight", 0)),
        is_required=required,
    )


def _tosca_constraint(name: str, kind: str, value: Any) -> Constraint:
    if not isinstance(value, dict) or len(value) != 1:
        raise CharacterRefused(f"A constraint of {name} must be one `operator: value`.")
    ((word, bound),) = value.items()
    try:
        operator = Operator(word)
    except ValueError:
        known = ", ".join(Operator)
        raise CharacterRefused(f"{name}: unknown operator {word!r}; known are {known}.") from None
    if operator is not Operator.IN_RANGE:
        return Constraint(operator=operator, value=_number(name, kind, bound))
    if not isinstance(bound, list) or len(bound) != 2:  # noqa: PLR2004, a range has two ends
        raise CharacterRefused(f"in_range of {name} must be a list of two numbers.")
    lower = _number(name, kind, bound[0])
    upper = math.inf if bound[1] == "UNBOUNDED" else _number(name, kind, bound[1])
    return _range(name, lower, upper)


def _line_unit(found: re.Match[str]) -> PerformanceUnit:
    name, unit = found["resource"], found["unit"] or ""
    if found["sign"]:
        constraint = Constraint(operator=_SIGNS[found["sign"]], value=float(found["value"]))
    else:
        constraint = _range(name, float(found["lower"]), float(found["upper"]))
    return PerformanceUnit(
        resource=name,
        constraints=(_scaled(name, unit, constraint),),
        unit=unit,
        weight=_weight(name, int(found["weight"] or 0)),
        is_required=not found["optional"],
    )


def _range(name: str, lower: float, upper: float) -> Constraint:
    if lower > upper:
        raise CharacterRefused(
            f"The range of {name} ends before it begins: {lower:g} .. {upper:g}."
        )
    return Constraint(operator=Operator.IN_RANGE, value=lower, upper=upper)


def _number(name: str, kind: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CharacterRefused(f"{name} is compared with {value!r}, which is no number.")
    if kind == "integer" and value != int(value):
        raise CharacterRefused(f"{name} is an integer, but is compared with {value!r}.")
    return float(value)


def _weight(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CharacterRefused(f"The weight of {name} must be an integer, got {value!r}.")
    if not HIGHEST_PRIORITY <= value <= LOWEST_PRIORITY:
        raise CharacterRefused(
            f"The weight of {name} must be {HIGHEST_PRIORITY} (highest) to {LOWEST_PRIORITY}"
            f" (lowest), got {value}."
        )
    return value


def _scaled(name: str, unit: str, constraint: Constraint) -> Constraint:
    """The comparison in the resource's own unit: cores, %, MiB, GiB, counts/s."""
    known = _UNITS.get(name)
    if not unit or known is None:
        return constraint
    if unit not in known:
        raise CharacterRefused(f"{name} is measured in {', '.join(known)}; got {unit!r}.")
    factor = known[unit]
    return Constraint(
        operator=constraint.operator,
        value=constraint.value * factor,
        upper=constraint.upper * factor,
    )


def _written(unit: PerformanceUnit) -> str:
    if len(unit.constraints) != 1:
        raise CharacterRefused(
            f"{unit.resource} has several constraints: one line holds one; use a range."
        )
    (constraint,) = unit.constraints
    factor = _UNITS.get(unit.resource, {}).get(unit.unit, 1.0)
    value, upper = constraint.value / factor, constraint.upper / factor
    text = (
        f"{unit.resource} in {value!r}..{upper!r}"
        if constraint.operator is Operator.IN_RANGE
        else f"{unit.resource} {_WRITTEN[constraint.operator]} {_short(value)}"
    )
    weight = f" [{unit.weight}]" if unit.weight else ""
    return f"{text}{' ' if unit.unit else ''}{unit.unit}{weight}{'' if unit.is_required else '?'}"


def _short(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)  # noqa: PLR2004, exact integers


def _joined(formula: Formula, units: Mapping[str, str], *, is_inner: bool) -> str:
    word = " and " if formula.is_and else " or "
    text = word.join(
        _joined(part, units, is_inner=True) if isinstance(part, Formula) else units[part]
        for part in formula.parts
    )
    return f"({text})" if is_inner else text


def _named(formula: Formula) -> list[str]:
    """Every resource in it, as often as it stands there."""
    return [
        name
        for part in formula.parts
        for name in (_named(part) if isinstance(part, Formula) else [part])
    ]
