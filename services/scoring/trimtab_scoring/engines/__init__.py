"""The engines that come with Trimtab: the visible list. Others come by entry point."""

from __future__ import annotations

from trimtab_scoring.engine import ScoringEngine, ScoringEngineContainer
from trimtab_scoring.engines.dummy_aggregates import DummyAggregatesContainer
from trimtab_scoring.engines.dummy_scorer import DummyScorer


def builtin_engines() -> tuple[ScoringEngine, ...]:
    """Engines that are always there."""
    return (DummyScorer(),)


def builtin_containers() -> tuple[ScoringEngineContainer, ...]:
    """Containers that are always there."""
    return (DummyAggregatesContainer(),)
