"""What the applier needs of the store: the narrow part that tests replace by a small real one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Lease, Service


class PlanRows(Protocol):
    """Action plans."""

    async def get(self, ident: str) -> ActionPlan:
        """By uuid; NotFound."""
        ...

    async def transition(
        self,
        uuid: str,
        *,
        to: PlanState,
        actor: Actor,
        source: PlanState | Iterable[PlanState] | None = None,
        fence: Lease | None = None,
        **columns: Any,
    ) -> ActionPlan:
        """One compare-and-set; Conflict when the state or the fence is another."""
        ...


class ActionRows(Protocol):
    """Actions."""

    async def get(self, ident: str) -> Action:
        """By uuid; NotFound."""
        ...

    async def list_of_plan(self, plan_uuid: str) -> list[Action]:
        """In the order of the plan."""
        ...

    async def transition(
        self,
        uuid: str,
        *,
        to: ActionState,
        actor: Actor,
        source: ActionState | Iterable[ActionState] | None = None,
        fence: Lease | None = None,
        **columns: Any,
    ) -> Action:
        """One compare-and-set; Conflict when the state or the fence is another."""
        ...

    async def update(
        self, uuid: str, values: Mapping[str, Any], *, fence: Lease | None = None
    ) -> Action:
        """Plain columns; Conflict when the fence is another."""
        ...


class LeaseRows(Protocol):
    """Leases."""

    async def acquire(self, kind: str, uuid: str, owner: str, ttl_s: float) -> Lease | None:
        """None: held by another."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        """None: lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Gives it up, if it is still ours."""
        ...


class OutboxRows(Protocol):
    """Notifications."""

    async def emit(
        self, event_type: str, subject: Any, *, priority: str = "INFO", fault: Any = None
    ) -> Any:
        """Adds one beside those that the saves write themselves."""
        ...


class ServiceRows(Protocol):
    """Heartbeats."""

    async def beat(self, name: str, host: str) -> Service:
        """I am alive."""
        ...


class DescriptionRows(Protocol):
    """Descriptions of action types."""

    async def sync(self, texts: Mapping[str, str]) -> Any:
        """Stores new and changed texts."""
        ...


class JournalSession(Protocol):
    """One transaction."""

    @property
    def action_plans(self) -> PlanRows:
        """Action plans."""
        ...

    @property
    def actions(self) -> ActionRows:
        """Actions."""
        ...

    @property
    def leases(self) -> LeaseRows:
        """Leases."""
        ...

    @property
    def outbox(self) -> OutboxRows:
        """Notifications."""
        ...

    @property
    def services(self) -> ServiceRows:
        """Heartbeats."""
        ...

    @property
    def action_descriptions(self) -> DescriptionRows:
        """Descriptions of action types."""
        ...


class JournalStore(Protocol):
    """The store: reads, and one write transaction at a time."""

    def read(self) -> AbstractAsyncContextManager[JournalSession]:
        """A read-only session."""
        ...

    def write(self) -> AbstractAsyncContextManager[JournalSession]:
        """Commits on exit, rolls back on an error."""
        ...
