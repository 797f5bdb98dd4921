"""Settings of the decision service, frozen; Watcher's option names where requirements name them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from oslo_config import cfg

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.runtime import plugin_options
from trimtab_decision.framework import Registry
from trimtab_decision.framework.destinations import DEFAULT_SELECTOR
from trimtab_decision.plugins import load_registry
from trimtab_decision.selection import Selector
from trimtab_decision.superseding import Supersede

GROUP = "watcher_decision_engine"
_STRATEGY = "watcher_strategies."
_PLANNER = "watcher_planners."


class OnRestart(StrEnum):
    """What happens to an audit that was running when its decision service died."""

    RESUME = "resume"
    CANCEL = "cancel"


DECISION_OPTS = [
    cfg.IntOpt("max_audit_workers", default=2, min=1, help="Audits planned at the same time."),
    cfg.IntOpt(
        "action_plan_expiry",
        default=24,
        min=0,
        help="Hours after which a RECOMMENDED action plan becomes SUPERSEDED; 0: never.",
    ),
    cfg.StrOpt(
        "supersede_on_success",
        default=Supersede.NONE.value,
        choices=[choice.value for choice in Supersede],
        help="RECOMMENDED action plans that become SUPERSEDED when another plan succeeds: none, all, or "
        "those whose audit has the same scope.",
    ),
    cfg.StrOpt(
        "supersede_on_change",
        default=Supersede.NONE.value,
        choices=[choice.value for choice in Supersede],
        help="RECOMMENDED action plans that become SUPERSEDED when a host comes, goes, is switched or "
        "gets another capacity: none, all, or those whose audit's scope holds it.",
    ),
    cfg.IntOpt(
        "action_plan_check_interval",
        default=60,
        min=0,
        help="Seconds between looks whether what RECOMMENDED action plans rely on still holds; one that "
        "applier would refuse becomes SUPERSEDED. 0: never.",
    ),
    cfg.IntOpt(
        "check_periodic_interval",
        default=1800,
        min=1,
        help="Seconds between looks for expired action plans and changed plug-ins.",
    ),
    cfg.IntOpt(
        "continuous_audit_interval",
        default=10,
        min=1,
        help="Seconds between looks for CONTINUOUS audits whose time has come.",
    ),
    cfg.StrOpt(
        "on_restart",
        default=OnRestart.RESUME.value,
        choices=[choice.value for choice in OnRestart],
        help="Audits found running after a crash: plan them again, or cancel them as Watcher does.",
    ),
    cfg.FloatOpt("sweep_interval_s", default=2.0, min=0.05, help="Seconds between looks for work."),
    cfg.FloatOpt("lease_s", default=20.0, min=1.0, help="How long a claim lasts unless renewed."),
    cfg.FloatOpt("planning_timeout_s", default=3600.0, min=1.0, help="Limit of one strategy run."),
    cfg.FloatOpt(
        "max_model_age_s",
        default=7200.0,
        min=1.0,
        help="A cluster model not heard of for longer is stale: audits that need it fail.",
    ),
    cfg.FloatOpt("metrics_timeout_s", default=60.0, min=0.1, help="Limit of one metrics query."),
    cfg.StrOpt(
        "strategy_selector",
        default=Selector.AVAILABLE.value,
        choices=[choice.value for choice in Selector],
        help="The strategy of an audit that names none: the first of its goal by name; the first "
        "that can work here now; or the one whose solution the goal values most, for which all "
        "that can work are tried.",
    ),
    cfg.FloatOpt(
        "scoring_timeout_s",
        default=60.0,
        min=0.1,
        help="Limit of all questions of one plan to scoring engines together.",
    ),
    cfg.FloatOpt(
        "scoring_sync_interval_s",
        default=10.0,
        min=0.1,
        help="Seconds between looks for scoring engines that came or went.",
    ),
    cfg.StrOpt(
        "filters",
        default="{}",
        help="JSON object, strategy: comma-separated scheduler filters its destinations must pass, "
        'such as {"basic": "AvailabilityZoneFilter, DifferentHostFilter"}.',
    ),
    cfg.StrOpt(
        "select_destinations",
        default=DEFAULT_SELECTOR,
        help="The plug-in that selects destinations; capacity: every host that has room.",
    ),
    cfg.IntOpt(
        "scope_check_interval",
        default=3600,
        min=1,
        help="Seconds between looks whether what stored scopes name is still there.",
    ),
    cfg.IntOpt(
        "action_plan_rollback_period",
        default=3600,
        min=1,
        help="Seconds after its end in which an action plan can be rolled back.",
    ),
    cfg.FloatOpt(
        "event_trigger_interval",
        default=5.0,
        min=0.05,
        help="Seconds between looks for what starts EVENT audits that have `trigger_on`.",
    ),
    cfg.FloatOpt(
        "event_trigger_debounce",
        default=30.0,
        min=0.0,
        help="Seconds without a further change before such an audit is started.",
    ),
    cfg.FloatOpt(
        "event_trigger_gap",
        default=300.0,
        min=0.0,
        help="Seconds between two starts of the same audit by its triggers, at least.",
    ),
    cfg.FloatOpt(
        "event_trigger_metrics_interval",
        default=60.0,
        min=0.05,
        help="Seconds between readings of the metrics that thresholds in `trigger_on` name.",
    ),
    cfg.IntOpt("service_down_time", default=90, min=1, help="Seconds until a replica is dead."),
    cfg.IntOpt("heartbeat_interval", default=60, min=1, help="Seconds between heartbeats."),
]
PLANNER_OPTS = [
    cfg.StrOpt("planner", default="weight", help="For strategies that name no planner."),
]
WEIGHT_OPTS = [
    cfg.DictOpt("weights", default={}, help="Action type: weight; the heaviest types run first."),
    cfg.DictOpt("parallelization", default={}, help="Action type: how many run at a time."),
]
STABILIZATION_OPTS = [
    cfg.DictOpt("weights", default={}, help="Action type: weight; the heaviest types run first."),
]
CRITICAL_PATH_OPTS = [
    cfg.IntOpt(
        "migrations_per_source",
        default=1,
        min=0,
        help="Migrations at once out of one host, as Nova's max_concurrent_live_migrations; 0: no "
        "limit.",
    ),
    cfg.IntOpt(
        "migrations_per_destination",
        default=1,
        min=0,
        help="Migrations at once into one host; 0: no limit.",
    ),
    cfg.IntOpt("migrations", default=0, min=0, help="Migrations at once in all; 0: no limit."),
    cfg.IntOpt("bandwidth_mib_s", default=500, min=1, help="Of one migration, for the forecast."),
    cfg.IntOpt("overhead_s", default=5, min=0, help="Of one migration, for the forecast."),
]
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    GROUP: DECISION_OPTS,
    "watcher_planner": PLANNER_OPTS,
    "watcher_planners.weight": WEIGHT_OPTS,
    "watcher_planners.workload_stabilization": STABILIZATION_OPTS,
    "watcher_planners.critical_path": CRITICAL_PATH_OPTS,
}

STRATEGY_OPTS = [
    cfg.ListOpt("datasources", help="Datasources of this strategy, instead of the global order."),
    cfg.StrOpt("planner", help="Planner of this strategy's plans, instead of its own."),
]


def parse_filters(text: str) -> dict[str, tuple[str, ...]]:
    """Strategy -> filter names, of the option `filters`; InvalidArgument when it is not one."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"[{GROUP}] filters is not a JSON object: {error}.") from None
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise InvalidArgument(
            f"[{GROUP}] filters must be a JSON object of strategy to comma-separated filter names."
        )
    return {
        strategy: tuple(name.strip() for name in names.split(",") if name.strip())
        for strategy, names in values.items()
    }


def groups(strategies: Iterable[str]) -> Mapping[str, Sequence[cfg.Opt]]:
    """Every group of options, with one for each loaded strategy (B-034, B-035)."""
    return {**GROUPS, **{f"{_STRATEGY}{name}": STRATEGY_OPTS for name in strategies}}


def plugin_groups(registry: Registry) -> Mapping[str, Sequence[cfg.Opt]]:
    """What loaded strategies and planners declare themselves (A-107, B-034)."""
    return {
        **plugin_options.groups_of("watcher_strategies", registry.strategies),
        **plugin_options.groups_of("watcher_planners", registry.planners),
    }


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For oslo-config-generator: every option, those of installed plug-ins too."""
    registry = load_registry()
    known = plugin_options.merged(groups(registry.strategies), plugin_groups(registry))
    return list(known.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """What the use cases need to know; defaults are those of the options."""

    host: str = "localhost"
    max_audit_workers: int = 2
    action_plan_expiry_h: int = 24
    supersede_on_success: Supersede = Supersede.NONE
    supersede_on_change: Supersede = Supersede.NONE
    action_plan_check_interval_s: float = 60.0
    check_periodic_interval_s: float = 1800.0
    continuous_audit_interval_s: float = 10.0
    on_restart: OnRestart = OnRestart.RESUME
    sweep_interval_s: float = 2.0
    lease_s: float = 20.0
    planning_timeout_s: float = 3600.0
    max_model_age_s: float = 7200.0
    metrics_timeout_s: float = 60.0
    strategy_selector: Selector = Selector.AVAILABLE
    scoring_timeout_s: float = 60.0
    scoring_sync_interval_s: float = 10.0
    scope_check_interval_s: float = 3600.0
    action_plan_rollback_period_s: float = 3600.0
    event_trigger_interval_s: float = 5.0
    event_trigger_debounce_s: float = 30.0
    event_trigger_gap_s: float = 300.0
    event_trigger_metrics_s: float = 60.0
    service_down_time_s: float = 90.0
    heartbeat_interval_s: float = 60.0
    default_planner: str = "weight"
    planners: Mapping[str, str] = field(default_factory=dict)
    planner_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    strategy_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    select_destinations: str = DEFAULT_SELECTOR

    def check_plugins(self, registry: Registry) -> None:
        """UnknownPlugin for a filter, a selection, a planner or a strategy that is not loaded (B-056)."""
        for strategy, names in self.filters.items():
            registry.strategy(strategy)
            registry.filters_named(names)
        registry.selector(self.select_destinations)
        for name in self.planners.values():
            registry.planner(name)

    @classmethod
    def from_conf(
        cls,
        conf: cfg.ConfigOpts,
        *,
        host: str,
        strategies: Iterable[str] = (),
        plugins: Mapping[str, Sequence[cfg.Opt]] | None = None,
    ) -> DecisionSettings:
        """The values of an operator's files, in which `groups(strategies)` were registered.

        plugins: what `plugin_groups` gave, registered too.
        """
        group = conf[GROUP]
        declared = {
            name: plugin_options.values_of(conf, name, options)
            for name, options in (plugins or {}).items()
        }
        return cls(
            host=host,
            max_audit_workers=group.max_audit_workers,
            action_plan_expiry_h=group.action_plan_expiry,
            supersede_on_success=Supersede(group.supersede_on_success),
            supersede_on_change=Supersede(group.supersede_on_change),
            action_plan_check_interval_s=group.action_plan_check_interval,
            check_periodic_interval_s=group.check_periodic_interval,
            continuous_audit_interval_s=group.continuous_audit_interval,
            on_restart=OnRestart(group.on_restart),
            sweep_interval_s=group.sweep_interval_s,
            lease_s=group.lease_s,
            planning_timeout_s=group.planning_timeout_s,
            max_model_age_s=group.max_model_age_s,
            metrics_timeout_s=group.metrics_timeout_s,
            strategy_selector=Selector(group.strategy_selector),
            scoring_timeout_s=group.scoring_timeout_s,
            scoring_sync_interval_s=group.scoring_sync_interval_s,
            scope_check_interval_s=group.scope_check_interval,
            action_plan_rollback_period_s=group.action_plan_rollback_period,
            event_trigger_interval_s=group.event_trigger_interval,
            event_trigger_debounce_s=group.event_trigger_debounce,
            event_trigger_gap_s=group.event_trigger_gap,
            event_trigger_metrics_s=group.event_trigger_metrics_interval,
            service_down_time_s=group.service_down_time,
            heartbeat_interval_s=group.heartbeat_interval,
            default_planner=conf.watcher_planner.planner,
            filters=parse_filters(group.filters),
            select_destinations=group.select_destinations,
            strategy_options={
                name.removeprefix(_STRATEGY): values
                for name, values in declared.items()
                if name.startswith(_STRATEGY)
            },
            planner_options={
                name.removeprefix(_PLANNER): values
                for name, values in declared.items()
                if name.startswith(_PLANNER)
            }
            | {
                name.removeprefix("watcher_planners."): {
                    option.name: conf[name][option.name] for option in GROUPS[name]
                }
                for name in GROUPS
                if name.startswith("watcher_planners.")
            },
            planners={
                name: planner
                for name in strategies
                if (planner := conf[f"{_STRATEGY}{name}"].planner)
            },
            datasources={
                name: tuple(conf[f"{_STRATEGY}{name}"].datasources or ()) for name in strategies
            },
        )
