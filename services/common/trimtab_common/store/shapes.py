"""How each resource is read: its joins, its filters, and the record made of a row.

On the main path: every get and list builds one statement from a Shape. Joined names come in the
same statement, so that a page costs the same number of statements whatever its length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from trimtab_common.domain import records, resources
from trimtab_common.domain.lifecycle import ActionState, AuditState, AuditType, PlanState
from trimtab_common.store import tables

R = TypeVar("R", bound=records.Stamped)
Source = sa.FromClause


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape(Generic[R]):
    """`noun`: the name in messages. `joined`: record attribute -> column of a joined table.

    `names`: filter -> (uuid column, name column), for filters that take either.
    `visible`: what must hold for a row to exist for readers at all.
    """

    noun: str
    resource: resources.Resource
    table: sa.Table
    record: type[R]
    source: Source
    joined: Mapping[str, sa.ColumnElement[Any]]
    names: Mapping[str, tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]]
    converters: Mapping[str, Any]
    visible: sa.ColumnElement[bool] | None = None
    parent_deleted: sa.ColumnElement[int] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The record's attributes that stand in its own table."""
        return self.resource.columns

    def select_any(self) -> sa.Select[Any]:
        """All columns of the record, labelled by its attributes; every row, even invisible."""
        own = [self.table.c[name] for name in self.columns]
        joined = [column.label(name) for name, column in self.joined.items()]
        return sa.select(*own, *joined).select_from(self.source)

    def select(self) -> sa.Select[Any]:
        """The same without what is not published yet."""
        statement = self.select_any()
        return statement if self.visible is None else statement.where(self.visible)

    def live(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        """Without soft-deleted rows."""
        statement = statement.where(self.table.c.deleted == 0)
        if self.parent_deleted is not None:
            statement = statement.where(self.parent_deleted == 0)
        return statement

    def build(self, values: dict[str, Any]) -> R:
        """The record of one row of `select`; `values` is consumed."""
        for name, convert in self.converters.items():
            values[name] = convert(values[name])
        return self.record(**values)

    def filter_column(self, name: str) -> sa.ColumnElement[Any] | None:
        """The column that a filter of this name compares; None when there is none."""
        if name in self.joined:
            return self.joined[name]
        return self.table.c.get(name)


_goals, _strategies = tables.goals, tables.strategies

GOALS: Shape[records.Goal] = Shape(
    noun="Goal",
    resource=resources.GOALS,
    table=tables.goals,
    record=records.Goal,
    source=tables.goals,
    joined={},
    names={},
    converters={},
)

STRATEGIES: Shape[records.Strategy] = Shape(
    noun="Strategy",
    resource=resources.STRATEGIES,
    table=tables.strategies,
    record=records.Strategy,
    source=tables.strategies.join(_goals, _goals.c.id == tables.strategies.c.goal_id),
    joined={"goal_uuid": _goals.c.uuid, "goal_name": _goals.c.name},
    names={"goal": (_goals.c.uuid, _goals.c.name)},
    converters={"parameters_spec": lambda value: {} if value is None else value},
)


def _with_goal_and_strategy(table: sa.Table) -> Source:
    return table.join(_goals, _goals.c.id == table.c.goal_id).outerjoin(
        _strategies, _strategies.c.id == table.c.strategy_id
    )


_GOAL_AND_STRATEGY: dict[str, sa.ColumnElement[Any]] = {
    "goal_uuid": _goals.c.uuid,
    "goal_name": _goals.c.name,
    "strategy_uuid": _strategies.c.uuid,
    "strategy_name": _strategies.c.name,
}
_GOAL_OR_STRATEGY: dict[str, tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]] = {
    "goal": (_goals.c.uuid, _goals.c.name),
    "strategy": (_strategies.c.uuid, _strategies.c.name),
}

AUDIT_TEMPLATES: Shape[records.AuditTemplate] = Shape(
    noun="AuditTemplate",
    resource=resources.AUDIT_TEMPLATES,
    table=tables.audit_templates,
    record=records.AuditTemplate,
    source=_with_goal_and_strategy(tables.audit_templates),
    joined=_GOAL_AND_STRATEGY,
    names=_GOAL_OR_STRATEGY,
    converters={},
)

AUDITS: Shape[records.Audit] = Shape(
    noun="Audit",
    resource=resources.AUDITS,
    table=tables.audits,
    record=records.Audit,
    source=_with_goal_and_strategy(tables.audits),
    joined=_GOAL_AND_STRATEGY,
    names=_GOAL_OR_STRATEGY,
    converters={"audit_type": AuditType, "state": AuditState},
)

_plans, _audits = tables.action_plans, tables.audits

ACTION_PLANS: Shape[records.ActionPlan] = Shape(
    noun="ActionPlan",
    resource=resources.ACTION_PLANS,
    table=_plans,
    record=records.ActionPlan,
    source=_plans.join(_audits, _audits.c.id == _plans.c.audit_id).join(
        _strategies, _strategies.c.id == _plans.c.strategy_id
    ),
    joined={
        "audit_uuid": _audits.c.uuid,
        "audit_name": _audits.c.name,
        "strategy_uuid": _strategies.c.uuid,
        "strategy_name": _strategies.c.name,
    },
    names={
        "audit": (_audits.c.uuid, _audits.c.name),
        "strategy": (_strategies.c.uuid, _strategies.c.name),
    },
    converters={"state": PlanState},
    visible=_plans.c.visible == sa.true(),
)

_actions = tables.actions

ACTIONS: Shape[records.Action] = Shape(
    noun="Action",
    resource=resources.ACTIONS,
    table=_actions,
    record=records.Action,
    source=_actions.join(_plans, _plans.c.id == _actions.c.action_plan_id).join(
        _audits, _audits.c.id == _plans.c.audit_id
    ),
    joined={"action_plan_uuid": _plans.c.uuid},
    names={"audit_uuid": (_audits.c.uuid, _audits.c.name)},
    converters={"state": ActionState, "parents": tuple},
    visible=_plans.c.visible == sa.true(),
    parent_deleted=_plans.c.deleted,
)

SCORING_ENGINES: Shape[records.ScoringEngine] = Shape(
    noun="ScoringEngine",
    resource=resources.SCORING_ENGINES,
    table=tables.scoring_engines,
    record=records.ScoringEngine,
    source=tables.scoring_engines,
    joined={},
    names={},
    converters={},
)

SERVICES: Shape[records.Service] = Shape(
    noun="Service",
    resource=resources.SERVICES,
    table=tables.services,
    record=records.Service,
    source=tables.services,
    joined={},
    names={},
    converters={},
)
