"""What can go wrong around a strategy; those inside it are in `framework/errors.py`.

TrimtabError
├── FailedPrecondition
│   ├── ClusterStateStale      the model is older than allowed, or collector says so
│   ├── PlanRefused            the verifier found that the plan breaks a rule
│   ├── UnknownActionType      no applier can carry out a planned action
│   ├── StrategyFailed         the strategy's code raised something unexpected
│   └── StrategyNotSynced      the strategy is loaded, but not yet in the record
├── Unavailable
│   ├── CollectorUnreachable   models or metrics cannot be read now
│   └── WorkerDied             the process that planned ended before it answered
├── DeadlineExceeded
│   └── PlanningTimedOut       the strategy took longer than allowed
└── Conflict
    └── AuditGone              the audit was cancelled or taken over while it was planned
"""

from __future__ import annotations

from trimtab_common.domain.errors import (
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    StaleModel,
    Unavailable,
)


class ClusterStateStale(StaleModel):
    """The model is older than allowed, or collector says that it is not good (B-036, C-009)."""

    reason = "CLUSTER_STATE_STALE"


class PlanRefused(FailedPrecondition):
    """The plan would break a rule; nothing of it is stored."""

    reason = "PLAN_REFUSED"


class UnknownActionType(FailedPrecondition):
    """The plan has actions that no applier can carry out."""

    reason = "UNKNOWN_ACTION_TYPE"


class StrategyFailed(FailedPrecondition):
    """The strategy's code raised something that is no error of ours; `details` has its trace."""

    reason = "STRATEGY_FAILED"


class StrategyNotSynced(FailedPrecondition):
    """The strategy is loaded here but has no row in the record yet."""

    reason = "STRATEGY_NOT_SYNCED"


class CollectorUnreachable(Unavailable):
    """Models or metrics cannot be read now."""

    reason = "COLLECTOR_UNREACHABLE"


class WorkerDied(Unavailable):
    """The process that planned ended before it answered, for example for want of memory."""

    reason = "WORKER_DIED"


class PlanningTimedOut(DeadlineExceeded):
    """The strategy took longer than `planning_timeout_s`."""

    reason = "PLANNING_TIMED_OUT"


class AuditGone(Conflict):
    """The audit was cancelled, or taken over by another replica, while it was planned."""

    reason = "AUDIT_GONE"
