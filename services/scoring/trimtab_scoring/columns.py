"""What the columns of an engine mean: names in order and units, read from its metainfo.

Metainfo is JSON text; its members `feature_columns`, `feature_units`, `result_columns` and
`result_units` are lists, all optional. An engine that names none is asked by position only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trimtab_scoring.engine import FeaturesRefused, ScoringEngine

_KEPT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature or score. `unit`: as in UCUM or plain words; empty when it has none."""

    name: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Features and scores in the order of the engine's rows; empty when they are not named.

    metadata: the members of the metainfo as texts, JSON for what is none (B-310).
    """

    features: tuple[Column, ...] = ()
    scores: tuple[Column, ...] = ()
    metadata: Mapping[str, str]


def columns_of(engine: ScoringEngine) -> Columns:
    """The engine's columns; only names that fit the length of its rows count."""
    named = _read(engine.metainfo)
    return Columns(
        features=named.features if len(named.features) == engine.n_features else (),
        scores=named.scores if len(named.scores) == engine.n_scores else (),
        metadata=named.metadata,
    )


def order_of(engine: ScoringEngine, names: Sequence[str]) -> list[int]:
    """For each of the engine's features its place in `names`. FeaturesRefused unless all are there."""
    known = [column.name for column in columns_of(engine).features]
    if not known:
        raise FeaturesRefused(
            f"Scoring engine {engine.name} does not name its features; send them by position."
        )
    if sorted(known) != sorted(names):
        raise FeaturesRefused(
            f"Scoring engine {engine.name} has the features {', '.join(known)};"
            f" got {', '.join(names)}."
        )
    return [names.index(name) for name in known]


@lru_cache(_KEPT)
def _read(metainfo: str) -> Columns:
    try:
        members = json.loads(metainfo) if metainfo else {}
    except ValueError:
        members = {"text": metainfo}
    if not isinstance(members, dict):
        members = {"value": members}
    return Columns(
        features=_named(members, "feature"),
        scores=_named(members, "result"),
        metadata={
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in members.items()
        },
    )


def _named(members: Mapping[str, Any], kind: str) -> tuple[Column, ...]:
    names = members.get(f"{kind}_columns")
    units = members.get(f"{kind}_units")
    if not isinstance(names, list) or len({str(name) for name in names}) != len(names):
        return ()
    if not isinstance(units, list) or len(units) != len(names):
        units = [""] * len(names)
    return tuple(
        Column(name=str(name), unit=str(unit)) for name, unit in zip(names, units, strict=True)
    )
