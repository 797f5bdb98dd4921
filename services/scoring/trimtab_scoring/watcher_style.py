"""Engines and containers written for Watcher, made to look like ours; called by discovery.

Watcher's interface is `get_name`, `get_description`, `get_metainfo` and `calculate_score` from JSON
text to JSON text; a container has `get_scoring_engine_list` (B-310, B-311). The specification's
older names `get_engine_id` and `get_model_metadata` are understood too, and lists in place of text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trimtab_scoring.engine import EngineFailed, ScoringEngine, ScoringEngineContainer


class WatcherEngine:
    """One engine of Watcher's kind. Lengths come from its metainfo, where this names columns."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        name = _first(engine, "get_name", "get_engine_id")
        self.name = str(name())
        describe = getattr(engine, "get_description", None)
        self.description = str(describe()) if describe else self.name
        metainfo = _first(engine, "get_metainfo", "get_model_metadata")()
        self.metainfo = metainfo if isinstance(metainfo, str) else json.dumps(metainfo)
        self.n_features = _length(self.metainfo, "feature_columns")
        self.n_scores = _length(self.metainfo, "result_columns")
        self._takes_text = hasattr(engine, "get_name")  # else of the specification's kind: floats

    def calculate_score(self, features: Sequence[float]) -> Sequence[float]:
        """Scores of one row; EngineFailed when the answer is no list of numbers."""
        row = list(features)
        answer = self._engine.calculate_score(json.dumps(row) if self._takes_text else row)
        scores = json.loads(answer) if isinstance(answer, str) else answer
        if not isinstance(scores, list | tuple):
            raise EngineFailed(
                f"Scoring engine {self.name} gave {type(scores).__name__}, not a list."
            )
        return [float(score) for score in scores]


class WatcherContainer:
    """One container of Watcher's kind."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def engines(self) -> Iterable[ScoringEngine]:
        """What it offers now."""
        return [as_engine(engine) for engine in self._container.get_scoring_engine_list()]


def as_engine(made: Any) -> ScoringEngine:
    """The object itself when it is of our kind, else one that speaks for it."""
    if hasattr(made, "get_name") or hasattr(made, "get_engine_id"):
        return WatcherEngine(made)
    engine: ScoringEngine = made
    return engine


def as_container(made: Any) -> ScoringEngineContainer:
    """The object itself when it is of our kind, else one that speaks for it."""
    if hasattr(made, "get_scoring_engine_list"):
        return WatcherContainer(made)
    container: ScoringEngineContainer = made
    return container


def _first(engine: Any, *names: str) -> Callable[[], Any]:
    for name in names:
        if hasattr(engine, name):
            method: Callable[[], Any] = getattr(engine, name)
            return method
    return dict


def _length(metainfo: str, member: str) -> int | None:
    try:
        names = json.loads(metainfo)[member]
    except (ValueError, KeyError, TypeError):
        return None
    return len(names) if isinstance(names, list) else None
