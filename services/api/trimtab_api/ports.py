"""What the use cases need from outside, as protocols that `main` fills and tests fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from trimtab_api.settings import ApiSettings
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Store


class Waker(Protocol):
    """Says to decision and applier that the record holds work. Never fails, never waits."""

    def wake_audit(self, uuid: str) -> None:
        """Tells decision that this audit may be runnable."""
        ...

    def check_scope(self, uuid: str) -> None:
        """Has decision look whether what the scope of this audit or template names is there."""
        ...

    def wake_plan(self, uuid: str) -> None:
        """Tells applier that this plan may be runnable, or wants cancelling."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRequirement:
    """One row of a strategy's state (A-041). `state` is JSON: text or a list of objects."""

    type: str
    state: Any
    mandatory: bool
    comment: str


class StrategyStates(Protocol):
    """Asks decision whether a strategy has what it needs."""

    async def state_of(self, strategy: str) -> Sequence[StrategyRequirement]:
        """Unavailable when decision does not answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """What became of one action: the uuid of the action that undoes it, or why there is none."""

    action_uuid: str
    inverse_uuid: str | None
    problem: str | None


class Rollbacks(Protocol):
    """Has decision derive and launch the plan that undoes another (A-076)."""

    async def roll_back(
        self, plan_uuid: str, actions: Sequence[str]
    ) -> tuple[str, Sequence[RolledBack]]:
        """Uuid of the new plan, and a report. `actions` empty: all of the plan.

        NotFound, FailedPrecondition, InvalidArgument and Conflict as decision says; Unavailable
        when it does not answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """How fresh a cluster model is. `stale_reason`: empty while it may be planned on."""

    kind: str
    hosts: int
    servers: int
    synced_at: datetime | None
    changed_at: datetime | None
    partial: bool
    stale_reason: str


class Models(Protocol):
    """Reads the cluster models from collector."""

    async def statuses(self) -> Sequence[ModelStatus]:
        """Every model; Unavailable when collector does not answer."""
        ...

    async def scope_schemas(self) -> Mapping[str, Any]:
        """Model -> JSON schema of its scope, as collector's plug-ins declare it.

        What it said last when it does not answer; empty before its first answer.
        """
        ...

    async def compute(self) -> ComputeSnapshot | None:
        """None when no model was built yet; Unavailable when collector does not answer."""
        ...

    async def elements(self, kind: str, scope: Sequence[Any]) -> ElementSnapshot | None:
        """What an audit's scope sees of the storage or baremetal model; None as above.

        NotFound when collector holds no such model; Unavailable when it does not answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything a use case may reach, handed down by `main`."""

    store: Store
    clock: Clock
    new_uuid: Callable[[], str]
    waker: Waker
    strategy_states: StrategyStates
    rollbacks: Rollbacks
    models: Models
    settings: ApiSettings
    kept_answers: dict[tuple[str, str, int, bool], tuple[float, Any]] = field(default_factory=dict)
