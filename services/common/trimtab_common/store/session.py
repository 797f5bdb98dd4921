"""One transaction: the doors to every table, the outbox and the leases.

On the main path: `Store.read` and `Store.write` give one of these; a use case does all its
database work through it and leaves the block.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncTransaction

from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import Bug
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import Audit, AuditTemplate, Goal, ScoringEngine, Strategy
from trimtab_common.domain.resources import Resource
from trimtab_common.store import shapes
from trimtab_common.store.action_descriptions import ActionDescriptions
from trimtab_common.store.action_table import ActionTable
from trimtab_common.store.announce import Announcer
from trimtab_common.store.leases import Leases
from trimtab_common.store.outbox import Outbox
from trimtab_common.store.plan_table import PlanTable
from trimtab_common.store.requests import Requests
from trimtab_common.store.resource_table import ResourceTable
from trimtab_common.store.service_table import ServiceTable
from trimtab_common.store.stateful_table import StatefulTable
from trimtab_common.store.tail import Tail

if TYPE_CHECKING:
    from trimtab_common.store.store import Store


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """What a store is told when it is opened.

    `host`: publisher of our notifications. `notification_level`: "" sends none (A-119).
    `now`: a clock of the test's own; with it leases are judged by it too.
    """

    host: str = "localhost"
    notification_level: str = "info"
    now: Callable[[], datetime] = _utc_now
    goal_cache: dict[int, Goal] = field(default_factory=dict, repr=False)
    strategy_cache: dict[int, Strategy] = field(default_factory=dict, repr=False)

    @property
    def has_own_clock(self) -> bool:
        """Whether times come from a clock handed in."""
        return self.now is not _utc_now


AfterCommit = Callable[["Store"], Awaitable[object]]


class Session:
    """One transaction. Not for several tasks at once."""

    def __init__(self, connection: AsyncConnection, options: StoreOptions, *, writes: bool) -> None:
        self._connection = connection
        self._writes = writes
        self.options = options
        self.dialect = connection.dialect.name
        self.work_after_commit: list[AfterCommit] = []

    def now(self) -> datetime:
        """Aware UTC."""
        return self.options.now()

    async def execute(
        self,
        statement: sa.Executable,
        rows: Sequence[dict[str, Any]] | dict[str, Any] | None = None,
    ) -> sa.CursorResult[Any]:
        """Runs one statement, for each of `rows`; for the store's own tables, not for use cases."""
        if statement.is_dml and not self._writes:
            message = "A write inside store.read(), which would be rolled back silently"
            raise Bug(message)
        return await self._connection.execute(statement, rows)

    def savepoint(self) -> AsyncTransaction:
        """A part that may fail without ending the transaction."""
        return self._connection.begin_nested()

    def after_commit(self, work: AfterCommit) -> None:
        """Work in transactions of its own, once this one is committed."""
        self.work_after_commit.append(work)

    async def flush(self) -> None:
        """Writes what was kept back to be one statement; the store does it before it commits."""
        if "outbox" in self.__dict__:
            await self.outbox.flush()

    def committed(self) -> None:
        """Called once the transaction is committed."""
        if "announcer" in self.__dict__:
            self.announcer.keep_for_others()

    def table(self, resource: Resource) -> Any:
        """The table of a resource; it has the resource's plural as its name."""
        return getattr(self, resource.plural)

    @cached_property
    def announcer(self) -> Announcer:
        """Writes the notification of each save."""
        return Announcer(self)

    @cached_property
    def goals(self) -> ResourceTable[Goal]:
        """The goals."""
        return ResourceTable(self, shapes.GOALS)

    @cached_property
    def strategies(self) -> ResourceTable[Strategy]:
        """The strategies."""
        return ResourceTable(self, shapes.STRATEGIES)

    @cached_property
    def audit_templates(self) -> ResourceTable[AuditTemplate]:
        """The audit templates."""
        return ResourceTable(self, shapes.AUDIT_TEMPLATES)

    @cached_property
    def audits(self) -> StatefulTable[Audit]:
        """The audits."""
        return StatefulTable(
            self, shapes.AUDITS, transitions=lifecycle.AUDIT, deleted=AuditState.DELETED
        )

    @cached_property
    def action_plans(self) -> PlanTable:
        """The action plans."""
        return PlanTable(self)

    @cached_property
    def actions(self) -> ActionTable:
        """The actions."""
        return ActionTable(self)

    @cached_property
    def scoring_engines(self) -> ResourceTable[ScoringEngine]:
        """The scoring engines."""
        return ResourceTable(self, shapes.SCORING_ENGINES)

    @cached_property
    def services(self) -> ServiceTable:
        """The services and their heartbeats."""
        return ServiceTable(self)

    @cached_property
    def action_descriptions(self) -> ActionDescriptions:
        """The descriptions of action types."""
        return ActionDescriptions(self)

    @cached_property
    def leases(self) -> Leases:
        """The leases."""
        return Leases(self)

    @cached_property
    def outbox(self) -> Outbox:
        """The notifications to be sent."""
        return Outbox(self)

    @cached_property
    def tail(self) -> Tail:
        """What was written to the outbox, for those who watch."""
        return Tail(self)

    @cached_property
    def requests(self) -> Requests:
        """What creates with a request id have answered."""
        return Requests(self)
