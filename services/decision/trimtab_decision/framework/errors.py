"""What can go wrong while an audit is planned; each ends the audit FAILED with its message.

TrimtabError
├── InvalidArgument
│   ├── ReservedWord                    an action names `resource_id` among its own inputs
│   ├── InvalidIndicatorValue           an efficacy indicator is not a number
│   ├── GlobalEfficacyComputationError  the indicators break the goal's specification
│   ├── UnsupportedActionType           a planner met an action that it cannot order
│   ├── PlannerMisconfigured            an operator's weights contradict each other
│   └── ScoreNotUnderstood              a scoring engine gave something else than it promises
├── NotFound
│   ├── UnknownPlugin                   no goal, strategy or planner has this name
│   └── NoAvailableStrategyForGoal      the goal is known, nothing serves it
└── FailedPrecondition
    ├── ClusterStateNotDefined          no compute model yet
    ├── ScoringFailed                   a scoring engine did not answer, or answered with an error
    ├── MetricNotAvailable              a metric that the strategy cannot do without
    ├── NoFeasiblePlan                  the cloud as it is cannot give what was asked
    └── PlanStuck                       moves wait for each other, and nothing can go out of the way
"""

from __future__ import annotations

from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, NotFound


class ReservedWord(InvalidArgument):
    """`resource_id` is given beside the inputs of an action, never inside them (B-037)."""

    reason = "RESERVED_WORD"


class InvalidIndicatorValue(InvalidArgument):
    """An efficacy indicator must be a number (B-012)."""

    reason = "INVALID_INDICATOR_VALUE"


class GlobalEfficacyComputationError(InvalidArgument):
    """The indicators of a solution do not match what its goal specifies (B-011, B-012)."""

    reason = "GLOBAL_EFFICACY_COMPUTATION"


class UnsupportedActionType(InvalidArgument):
    """This planner does not know how to order an action of this type."""

    reason = "UNSUPPORTED_ACTION_TYPE"


class PlannerMisconfigured(InvalidArgument):
    """The weights or the parallelization that an operator set cannot be used."""

    reason = "PLANNER_MISCONFIGURED"


class ScoreNotUnderstood(InvalidArgument):
    """A scoring engine answered, but not with what the strategy can use."""

    reason = "SCORE_NOT_UNDERSTOOD"


class UnknownPlugin(NotFound):
    """No goal, strategy or planner with this name is loaded."""

    reason = "UNKNOWN_PLUGIN"


class NoAvailableStrategyForGoal(NotFound):
    """No loaded strategy serves this goal (B-030)."""

    reason = "NO_STRATEGY_FOR_GOAL"


class ClusterStateNotDefined(FailedPrecondition):
    """The strategy needs a compute model and there is none (B-036)."""

    reason = "CLUSTER_STATE_NOT_DEFINED"


class MetricNotAvailable(FailedPrecondition):
    """A metric without which the strategy cannot work was not delivered."""

    reason = "METRIC_NOT_AVAILABLE"


class NoFeasiblePlan(FailedPrecondition):
    """What was asked cannot be done with the hosts there are; the message says why."""

    reason = "NO_FEASIBLE_PLAN"


class PlanStuck(FailedPrecondition):
    """Every move that is left waits for room that another one of them has to leave."""

    reason = "PLAN_STUCK"


class ScoringFailed(FailedPrecondition):
    """A scoring engine did not answer, or answered with an error; the text says which and why."""

    reason = "SCORING_FAILED"
