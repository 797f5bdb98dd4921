"""Settings of the decision service, frozen; Watcher's option names where requirements name them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from oslo_config import cfg

GROUP = "watcher_decision_engine"
_STRATEGY = "watcher_strategies."


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
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    GROUP: DECISION_OPTS,
    "watcher_planner": PLANNER_OPTS,
    "watcher_planners.weight": WEIGHT_OPTS,
    "watcher_planners.workload_stabilization": STABILIZATION_OPTS,
}

STRATEGY_OPTS = [
    cfg.ListOpt("datasources", help="Datasources of this strategy, instead of the global order."),
]


def groups(strategies: Iterable[str]) -> Mapping[str, Sequence[cfg.Opt]]:
    """Every group of options, with one for each loaded strategy (B-034, B-035)."""
    return {**GROUPS, **{f"{_STRATEGY}{name}": STRATEGY_OPTS for name in strategies}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """What the use cases need to know; defaults are those of the options."""

    host: str = "localhost"
    max_audit_workers: int = 2
    action_plan_expiry_h: int = 24
    check_periodic_interval_s: float = 1800.0
    continuous_audit_interval_s: float = 10.0
    on_restart: OnRestart = OnRestart.RESUME
    sweep_interval_s: float = 2.0
    lease_s: float = 20.0
    planning_timeout_s: float = 3600.0
    max_model_age_s: float = 7200.0
    metrics_timeout_s: float = 60.0
    service_down_time_s: float = 90.0
    heartbeat_interval_s: float = 60.0
    default_planner: str = "weight"
    planner_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasources: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_conf(
        cls, conf: cfg.ConfigOpts, *, host: str, strategies: Iterable[str] = ()
    ) -> DecisionSettings:
        """The values of an operator's files, in which `groups(strategies)` were registered."""
        group = conf[GROUP]
        return cls(
            host=host,
            max_audit_workers=group.max_audit_workers,
            action_plan_expiry_h=group.action_plan_expiry,
            check_periodic_interval_s=group.check_periodic_interval,
            continuous_audit_interval_s=group.continuous_audit_interval,
            on_restart=OnRestart(group.on_restart),
            sweep_interval_s=group.sweep_interval_s,
            lease_s=group.lease_s,
            planning_timeout_s=group.planning_timeout_s,
            max_model_age_s=group.max_model_age_s,
            metrics_timeout_s=group.metrics_timeout_s,
            service_down_time_s=group.service_down_time,
            heartbeat_interval_s=group.heartbeat_interval,
            default_planner=conf.watcher_planner.planner,
            planner_options={
                name.removeprefix("watcher_planners."): {
                    option.name: conf[name][option.name] for option in GROUPS[name]
                }
                for name in GROUPS
                if name.startswith("watcher_planners.")
            },
            datasources={
                name: tuple(conf[f"{_STRATEGY}{name}"].datasources or ()) for name in strategies
            },
        )
