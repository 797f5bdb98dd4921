"""The stored resources as frozen records: what the store gives and the use cases pass on.

Times are aware UTC. `id` is the store's integer key (0 before it is stored). Free-form JSON is
held as plain Python values. Columns are those of requirements A §9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trimtab_common.domain.lifecycle import ActionState, AuditState, AuditType, PlanState

Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """What every table carries. `deleted_at` set means soft-deleted."""

    id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal(Stamped):
    """What an operator wants. `efficacy_specification`: [{name, description, unit, schema}]."""

    uuid: str
    name: str
    display_name: str
    efficacy_specification: list[dict[str, Json]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy(Stamped):
    """A way to reach a goal. `parameters_spec` is a JSON schema (draft 4)."""

    uuid: str
    name: str
    display_name: str
    goal_id: int
    goal_uuid: str = ""
    goal_name: str = ""
    parameters_spec: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTemplate(Stamped):
    """A named set of defaults from which audits are made."""

    uuid: str
    name: str
    goal_id: int
    goal_uuid: str = ""
    goal_name: str = ""
    strategy_id: int | None = None
    strategy_uuid: str | None = None
    strategy_name: str | None = None
    description: str | None = None
    scope: list[Json] = field(default_factory=list)
    default_parameters: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit(Stamped):
    """A question put to the cloud. `interval`: seconds or cron text, as a string."""

    uuid: str
    name: str
    audit_type: AuditType
    goal_id: int
    state: AuditState = AuditState.PENDING
    goal_uuid: str = ""
    goal_name: str = ""
    strategy_id: int | None = None
    strategy_uuid: str | None = None
    strategy_name: str | None = None
    parameters: dict[str, Json] = field(default_factory=dict)
    interval: str | None = None
    scope: list[Json] = field(default_factory=list)
    auto_trigger: bool = False
    next_run_time: datetime | None = None
    hostname: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    force: bool = False
    status_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficacyIndicator:
    """One measured promise of a plan."""

    name: str
    description: str
    unit: str | None
    value: float
    uuid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlan(Stamped):
    """The moves an audit recommends. `global_efficacy`: [{name, description, unit, value}].

    `explanation`: why it is what it is: bound, gap, cost, what was ruled out, curve; None unless made here.
    """

    uuid: str
    audit_id: int
    strategy_id: int
    state: PlanState = PlanState.RECOMMENDED
    audit_uuid: str = ""
    audit_name: str = ""
    strategy_uuid: str = ""
    strategy_name: str = ""
    global_efficacy: list[dict[str, Json]] = field(default_factory=list)
    efficacy_indicators: tuple[EfficacyIndicator, ...] = ()
    hostname: str | None = None
    status_message: str | None = None
    explanation: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(Stamped):
    """One step of a plan.

    `parents`: uuids of the actions that must end first. `reason`: why the strategy wants it.
    `facts`: what the plan relied on ({"host": .., "state": .., "status": ..}), for staleness.
    `intent`: written before the cloud is touched ({"source_host", "last_migration_id", ...}).
    `result`: what was found afterwards ({"host": ..}). `fence`: of the lease that wrote last.
    """

    uuid: str
    action_plan_id: int
    action_type: str
    action_plan_uuid: str = ""
    state: ActionState = ActionState.PENDING
    input_parameters: dict[str, Json] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    status_message: str | None = None
    reason: str | None = None
    facts: dict[str, Json] | None = None
    intent: dict[str, Json] | None = None
    result: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringEngine(Stamped):
    """A scoring engine as the record knows it. `metainfo` is JSON text."""

    uuid: str
    name: str
    description: str
    metainfo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Stamped):
    """A running process of a service, by its last heartbeat."""

    name: str
    host: str
    last_seen_up: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one resource until `until_at`; `fence` only ever grows.

    `taken_early`: its last holder was known to have ended, so its time was not waited for. What that one
    asked of others just before may still be under way.
    """

    kind: str
    uuid: str
    owner: str
    fence: int
    until_at: datetime
    taken_early: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A notification to publish. `uuid`: its message_id; `publisher`: the host that saved."""

    id: int
    uuid: str
    event_type: str
    priority: str
    object_uuid: str
    publisher: str
    payload: dict[str, Json]
    created_at: datetime
    published_at: datetime | None = None
