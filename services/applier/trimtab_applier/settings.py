"""The applier's settings: Watcher's option names and groups where operators know them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from oslo_config import cfg

from trimtab_applier.graph import ExecutionRule
from trimtab_applier.lease import LeaseTerms
from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.openstack import connect, maas


class OnRestart(StrEnum):
    """What happens to a plan whose applier died."""

    RESUME = "resume"
    CANCEL = "cancel"


class OnCancel(StrEnum):
    """What happens to running actions of a plan that is cancelled."""

    ABORT = "abort"
    WAIT = "wait"


APPLIER_OPTS: Sequence[cfg.Opt] = [
    cfg.IntOpt("workers", default=1, min=1, help="Action plans that run at once in one applier."),
    cfg.StrOpt("workflow_engine", default="taskflow", help="Kept for Watcher's files; unused."),
    cfg.StrOpt(
        "on_restart",
        default=OnRestart.RESUME,
        choices=list(OnRestart),
        help="Plans found ONGOING after their applier died: resume them, or cancel them as "
        "Watcher does.",
    ),
    cfg.StrOpt(
        "on_cancel",
        default=OnCancel.ABORT,
        choices=list(OnCancel),
        help="Running actions of a cancelled plan: abort those that can be, or wait for them.",
    ),
    cfg.BoolOpt(
        "rollback_when_actionplan_failed",
        default=False,
        help="When an action fails, start no further one and revert those that succeeded, last "
        "one first.",
    ),
    cfg.FloatOpt("sweep_interval", default=2.0, min=0.1, help="Looks for plans this often (s)."),
    cfg.FloatOpt(
        "lease_duration",
        default=14.0,
        min=1.0,
        help="A plan is free for other appliers this long (s), plus the write timeout, after "
        "its applier was last heard of; at once on a machine that sees that it has ended.",
    ),
    cfg.IntOpt(
        "max_parallel_migrations",
        default=0,
        min=0,
        help="Migrations of one plan at once; 0 leaves it to the planner and max_workers.",
    ),
    cfg.IntOpt(
        "max_parallel_migrations_per_host",
        default=0,
        min=0,
        help="Migrations at once out of one host, and into one host; 0 leaves it to the planner.",
    ),
]
ENGINE_OPTS: Sequence[cfg.Opt] = [
    cfg.IntOpt(
        "max_workers",
        min=1,
        help="Actions of one plan that run at once; default: the number of processors.",
    ),
    cfg.DictOpt(
        "action_execution_rule",
        default={},
        help="Strategy name to ALWAYS (default) or ANY: a child runs only if no parent succeeded.",
    ),
]
NOVA_OPTS: Sequence[cfg.Opt] = [
    cfg.IntOpt("migration_max_retries", default=180, min=1, help="Looks at a move this often."),
    cfg.FloatOpt("migration_interval", default=5.0, min=0.1, help="Times this many seconds."),
    *connect.NOVA_OPTS,
    cfg.FloatOpt("write_timeout", default=10.0, min=1.0, help="Limit of one write to Nova (s)."),
]
CINDER_OPTS: Sequence[cfg.Opt] = [
    cfg.FloatOpt(
        "volume_move_timeout",
        default=14400.0,
        min=1.0,
        help="Seconds that the migration or retype of one volume may take.",
    ),
]
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "watcher_applier": APPLIER_OPTS,
    "watcher_workflow_engines.taskflow": ENGINE_OPTS,
    "nova": NOVA_OPTS,
    "cinder": CINDER_OPTS,
    maas.GROUP: maas.OPTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSettings:
    """How long moves may take, of volumes too, and how stubbornly the cloud is asked."""

    migration_max_retries: int = 180
    migration_interval_s: float = 5.0
    http_retries: int = 3
    http_retry_interval_s: float = 2.0
    write_timeout_s: float = 10.0
    poll_s: float = 1.0
    abort_timeout_s: float = 480.0
    volume_timeout_s: float = 14400.0

    @property
    def migration_timeout_s(self) -> float:
        """How long one move may take (B-231)."""
        return self.migration_max_retries * self.migration_interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplierSettings:
    """Everything the applier can be told."""

    host: str
    workers: int = 1
    max_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    action_execution_rule: Mapping[str, ExecutionRule] = field(default_factory=dict)
    on_restart: OnRestart = OnRestart.RESUME
    on_cancel: OnCancel = OnCancel.ABORT
    rollback_when_failed: bool = False
    sweep_every_s: float = 2.0
    cancel_poll_s: float = 1.0
    heartbeat_every_s: float = 60.0
    lease_s: float = 14.0
    max_parallel_migrations: int = 0
    max_parallel_migrations_per_host: int = 0
    nova: NovaSettings = field(default_factory=NovaSettings)

    def rule_of(self, strategy: str) -> ExecutionRule:
        """When children run in plans of this strategy."""
        return self.action_execution_rule.get(strategy, ExecutionRule.ALWAYS)

    @property
    def lease_terms(self) -> LeaseTerms:
        """Of the leases on plans."""
        return LeaseTerms(
            ttl_s=self.lease_s,
            margin_s=self.nova.write_timeout_s,
            renew_every_s=min(3.0, self.lease_s / 5),
        )

    @property
    def lane_limits(self) -> Mapping[str, int]:
        """Of the lanes that actions name."""
        return {
            "move": self.max_parallel_migrations,
            "out": self.max_parallel_migrations_per_host,
            "in": self.max_parallel_migrations_per_host,
        }


def from_conf(conf: cfg.ConfigOpts, *, host: str) -> ApplierSettings:
    """Freezes what oslo.config read.

    Raises:
        FailedPrecondition: a rule that is neither ALWAYS nor ANY, or a lease too short to write.
    """
    applier, engine, nova, cinder, _ = (conf[group] for group in GROUPS)
    settings = ApplierSettings(
        host=host,
        workers=applier.workers,
        max_workers=engine.max_workers or os.cpu_count() or 1,
        action_execution_rule=_rules(engine.action_execution_rule),
        on_restart=OnRestart(applier.on_restart),
        on_cancel=OnCancel(applier.on_cancel),
        rollback_when_failed=applier.rollback_when_actionplan_failed,
        sweep_every_s=applier.sweep_interval,
        lease_s=applier.lease_duration,
        max_parallel_migrations=applier.max_parallel_migrations,
        max_parallel_migrations_per_host=applier.max_parallel_migrations_per_host,
        nova=NovaSettings(
            migration_max_retries=nova.migration_max_retries,
            migration_interval_s=nova.migration_interval,
            http_retries=nova.http_retries,
            http_retry_interval_s=nova.http_retry_interval,
            write_timeout_s=nova.write_timeout,
            poll_s=min(1.0, nova.migration_interval),
            volume_timeout_s=cinder.volume_move_timeout,
        ),
    )
    if settings.lease_s <= settings.nova.write_timeout_s:
        raise FailedPrecondition(
            f"[watcher_applier] lease_duration ({settings.lease_s:g} s) must be longer than "
            f"[nova] write_timeout ({settings.nova.write_timeout_s:g} s), or nothing can be written"
        )
    return settings


def _rules(raw: Mapping[str, str]) -> dict[str, ExecutionRule]:
    try:
        return {strategy: ExecutionRule(rule.strip().upper()) for strategy, rule in raw.items()}
    except ValueError as error:
        raise FailedPrecondition(
            f"[watcher_workflow_engines.taskflow] action_execution_rule: {error}; use ALWAYS or ANY"
        ) from None


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator: every option of this service."""
    return list(GROUPS.items())
