"""The three state machines: who may move an audit, a plan or an action from where to where.

Every state change of the store goes through `check`; the tables are those of requirements §5.
"""

from __future__ import annotations

from enum import StrEnum

from trimtab_common.domain.errors import FailedPrecondition


class Actor(StrEnum):
    """Who asks for a transition."""

    API = "api"
    DECISION = "decision"
    APPLIER = "applier"
    SYNCER = "syncer"
    MONITOR = "monitor"


class AuditType(StrEnum):
    """How often an audit runs: once, on a schedule, or when its webhook is called."""

    ONESHOT = "ONESHOT"
    CONTINUOUS = "CONTINUOUS"
    EVENT = "EVENT"


class AuditState(StrEnum):
    """The states of an audit."""

    PENDING = "PENDING"
    ONGOING = "ONGOING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SUSPENDED = "SUSPENDED"
    DELETED = "DELETED"


class PlanState(StrEnum):
    """The states of an action plan."""

    RECOMMENDED = "RECOMMENDED"
    PENDING = "PENDING"
    ONGOING = "ONGOING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    SUPERSEDED = "SUPERSEDED"
    DELETED = "DELETED"


class ActionState(StrEnum):
    """The states of an action."""

    PENDING = "PENDING"
    ONGOING = "ONGOING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    DELETED = "DELETED"


Transitions = dict[tuple[StrEnum, StrEnum], frozenset[Actor]]

_A, _P, _X = AuditState, PlanState, ActionState
_API, _DE, _AP = Actor.API, Actor.DECISION, Actor.APPLIER
_SYNC, _MON = Actor.SYNCER, Actor.MONITOR


def _table(*rows: tuple[StrEnum, StrEnum, Actor]) -> Transitions:
    table: dict[tuple[StrEnum, StrEnum], set[Actor]] = {}
    for source, target, actor in rows:
        table.setdefault((source, target), set()).add(actor)
    return {pair: frozenset(actors) for pair, actors in table.items()}


AUDIT: Transitions = _table(
    (_A.PENDING, _A.ONGOING, _DE),
    (_A.PENDING, _A.ONGOING, _API),
    (_A.PENDING, _A.CANCELLED, _API),
    (_A.PENDING, _A.CANCELLED, _DE),
    (_A.PENDING, _A.SUCCEEDED, _DE),
    (_A.PENDING, _A.FAILED, _DE),
    (_A.ONGOING, _A.SUCCEEDED, _DE),
    (_A.ONGOING, _A.SUCCEEDED, _API),
    (_A.ONGOING, _A.FAILED, _DE),
    (_A.ONGOING, _A.FAILED, _API),
    (_A.ONGOING, _A.CANCELLED, _API),
    (_A.ONGOING, _A.CANCELLED, _DE),
    (_A.ONGOING, _A.SUSPENDED, _API),
    (_A.SUSPENDED, _A.ONGOING, _API),
    (_A.SUCCEEDED, _A.ONGOING, _DE),
    *((state, _A.DELETED, _API) for state in (_A.FAILED, _A.SUCCEEDED, _A.CANCELLED, _A.SUSPENDED)),
    *((state, _A.CANCELLED, _SYNC) for state in (_A.PENDING, _A.ONGOING, _A.SUSPENDED)),
)
"""Audit transitions (A §5.1). The syncer leaves terminal states alone (B-004)."""

PLAN: Transitions = _table(
    (_P.RECOMMENDED, _P.SUCCEEDED, _DE),
    (_P.RECOMMENDED, _P.PENDING, _API),
    (_P.RECOMMENDED, _P.PENDING, _DE),
    (_P.PENDING, _P.ONGOING, _AP),
    (_P.RECOMMENDED, _P.ONGOING, _AP),
    (_P.RECOMMENDED, _P.SUPERSEDED, _DE),
    (_P.RECOMMENDED, _P.CANCELLED, _API),
    (_P.RECOMMENDED, _P.CANCELLED, _DE),
    (_P.PENDING, _P.CANCELLED, _API),
    (_P.ONGOING, _P.SUCCEEDED, _AP),
    (_P.ONGOING, _P.FAILED, _AP),
    (_P.PENDING, _P.FAILED, _AP),
    (_P.ONGOING, _P.CANCELLING, _API),
    (_P.CANCELLING, _P.CANCELLED, _AP),
    (_P.CANCELLING, _P.FAILED, _AP),
    (_P.ONGOING, _P.CANCELLED, _AP),
    (_P.ONGOING, _P.CANCELLED, _MON),
    *(
        (state, _P.DELETED, _API)
        for state in (_P.SUCCEEDED, _P.RECOMMENDED, _P.FAILED, _P.SUPERSEDED, _P.CANCELLED)
    ),
    *((state, _P.CANCELLED, _SYNC) for state in (_P.RECOMMENDED, _P.PENDING)),
)
"""Action plan transitions (A §5.2). A plan that cannot start at all fails from PENDING (B-271).

RECOMMENDED to ONGOING stands in the requirements for `auto_trigger`, and so it is no illegal one; nothing
of ours makes it, because every launch goes through PENDING, the queue (A-085, ADR 0007).
"""

ACTION: Transitions = _table(
    (_X.PENDING, _X.SKIPPED, _API),
    (_X.PENDING, _X.SKIPPED, _AP),
    (_X.PENDING, _X.FAILED, _AP),
    (_X.PENDING, _X.ONGOING, _AP),
    (_X.PENDING, _X.CANCELLED, _API),
    (_X.PENDING, _X.CANCELLED, _AP),
    (_X.PENDING, _X.CANCELLED, _DE),
    (_X.PENDING, _X.CANCELLED, _MON),
    (_X.PENDING, _X.CANCELLED, _SYNC),
    (_X.ONGOING, _X.SUCCEEDED, _AP),
    (_X.ONGOING, _X.FAILED, _AP),
    (_X.ONGOING, _X.CANCELLING, _AP),
    (_X.CANCELLING, _X.CANCELLED, _AP),
    (_X.CANCELLING, _X.SUCCEEDED, _AP),
    (_X.CANCELLING, _X.FAILED, _AP),
    (_X.ONGOING, _X.CANCELLED, _AP),
    (_X.ONGOING, _X.CANCELLED, _MON),
    *((state, _X.DELETED, _API) for state in _X if state is not _X.DELETED),
)
"""Action transitions (A §5.3). Deletion follows the plan, whose own state guards it."""

TERMINAL_PLAN = frozenset({_P.SUCCEEDED, _P.FAILED, _P.CANCELLED, _P.SUPERSEDED, _P.DELETED})
TERMINAL_ACTION = frozenset({_X.SUCCEEDED, _X.FAILED, _X.CANCELLED, _X.SKIPPED, _X.DELETED})


class TransitionNotAllowed(FailedPrecondition):
    """A state change that no row of the tables allows to this actor."""

    reason = "STATE_TRANSITION_NOT_ALLOWED"


def is_allowed(table: Transitions, source: StrEnum, target: StrEnum, actor: Actor) -> bool:
    """Whether `actor` may move a resource from `source` to `target`."""
    return actor in table.get((source, target), frozenset())


def check(table: Transitions, source: StrEnum, target: StrEnum, actor: Actor) -> None:
    """Raises TransitionNotAllowed unless the table allows it; the text is what clients match."""
    if not is_allowed(table, source, target, actor):
        raise TransitionNotAllowed(f"State transition not allowed: ({source} -> {target})")
