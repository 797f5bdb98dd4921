"""Which goals, strategies and planners are loaded: the visible list and outside entry points.

The goal of a strategy comes from the strategy itself, never from configuration (B-002). Order is
always by entry name (B-030).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, TypeVar

from trimtab_decision.framework.destinations import (
    DEFAULT_SELECTOR,
    SchedulerFilter,
    SelectDestinations,
)
from trimtab_decision.framework.errors import NoAvailableStrategyForGoal, UnknownPlugin
from trimtab_decision.framework.goal import Goal
from trimtab_decision.framework.planning import Planner
from trimtab_decision.framework.strategy import Strategy

GOALS_GROUP = "trimtab_goals"
STRATEGIES_GROUP = "trimtab_strategies"
PLANNERS_GROUP = "trimtab_planners"
FILTERS_GROUP = "trimtab_scheduler_filters"
SELECTORS_GROUP = "watcher_select_destinations"
"""Named by the requirement (B-050)."""

_Plugin = TypeVar("_Plugin")


class Registry:
    """The loaded plug-ins by name.

    `failures`: (group, entry name, error) of entry points that could not be loaded; the service
    logs them at start, the rest works.
    """

    def __init__(
        self,
        *,
        goals: Iterable[Goal],
        strategies: Iterable[type[Strategy]],
        planners: Iterable[type[Planner]],
        filters: Iterable[type[SchedulerFilter]] = (),
        selectors: Iterable[type[SelectDestinations]] = (),
    ) -> None:
        self.goals: dict[str, Goal] = {}
        self.strategies: dict[str, type[Strategy]] = {}
        self.planners: dict[str, type[Planner]] = {}
        self.filters: dict[str, type[SchedulerFilter]] = {one.name: one for one in filters}
        self.selectors: dict[str, type[SelectDestinations]] = {one.name: one for one in selectors}
        self.failures: list[tuple[str, str, str]] = []
        for goal in goals:
            self.goals[goal.name] = goal
        for strategy in strategies:
            self.strategies[strategy.name] = strategy
        for planner in planners:
            self.planners[planner.name] = planner
        self._sort()

    def load_entry_points(self, declared: metadata.EntryPoints | None = None) -> None:
        """Add what other distributions declare; a name already taken keeps its first owner.

        `declared`: instead of the entry points of all installed distributions.
        """
        points = metadata.entry_points() if declared is None else declared
        for group, table in (
            (GOALS_GROUP, self.goals),
            (STRATEGIES_GROUP, self.strategies),
            (PLANNERS_GROUP, self.planners),
            (FILTERS_GROUP, self.filters),
            (SELECTORS_GROUP, self.selectors),
        ):
            for entry in sorted(points.select(group=group), key=lambda point: point.name):
                self._load(group, entry, table)
        self._sort()

    def _load(self, group: str, entry: metadata.EntryPoint, table: dict[str, Any]) -> None:
        if entry.name in table:
            self.failures.append((group, entry.name, "the name is already taken"))
            return
        try:
            table[entry.name] = entry.load()
        except Exception as error:  # noqa: BLE001, other people's code may raise anything; recorded
            self.failures.append((group, entry.name, f"{type(error).__name__}: {error}"))

    def _sort(self) -> None:
        self.goals = dict(sorted(self.goals.items()))
        self.strategies = dict(sorted(self.strategies.items()))
        self.planners = dict(sorted(self.planners.items()))

    def goal(self, name: str) -> Goal:
        """The goal with this name; UnknownPlugin when none is loaded."""
        return _named(self.goals, name, "goal")

    def strategy(self, name: str) -> Strategy:
        """A strategy by name; UnknownPlugin when none is loaded."""
        return _named(self.strategies, name, "strategy")()

    def planner(self, name: str, options: Mapping[str, Any] | None = None) -> Planner:
        """A fresh planner by name, with an operator's options for it (B-210)."""
        return _named(self.planners, name, "planner").from_options(options or {})

    def filters_named(self, names: Iterable[str]) -> tuple[SchedulerFilter, ...]:
        """Scheduler filters by name, each once; UnknownPlugin when one is not loaded (B-056)."""
        return tuple(_named(self.filters, name, "filter")() for name in dict.fromkeys(names))

    def selector(self, name: str) -> SelectDestinations | None:
        """A selection of destinations by name; None for the default one (B-050)."""
        if name == DEFAULT_SELECTOR:
            return None
        return _named(self.selectors, name, "selection of destinations")()

    def strategies_of(self, goal_name: str) -> tuple[type[Strategy], ...]:
        """The strategies that serve this goal, by entry name."""
        return tuple(s for s in self.strategies.values() if s.goal_name == goal_name)

    def select_strategy(self, goal_name: str, strategy_name: str | None = None) -> Strategy:
        """The named strategy, else the first one of the goal (B-030)."""
        if strategy_name is not None:
            return self.strategy(strategy_name)
        self.goal(goal_name)
        candidates = self.strategies_of(goal_name)
        if not candidates:
            raise NoAvailableStrategyForGoal(
                f"No strategy could be found to achieve the '{goal_name}' goal."
            )
        return candidates[0]()


def _named(table: Mapping[str, _Plugin], name: str, kind: str) -> _Plugin:
    found = table.get(name)
    if found is None:
        raise UnknownPlugin(
            f"There is no {kind} named '{name}'. Known: {', '.join(table) or 'none'}."
        )
    return found
