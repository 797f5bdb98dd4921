"""What the use cases need from outside, as protocols that `main` fills and tests fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trimtab_api.settings import ApiSettings
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Store


class Waker(Protocol):
    """Says to decision and applier that the record holds work. Never fails, never waits."""

    def wake_audit(self, uuid: str) -> None:
        """Tells decision that this audit may be runnable."""
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


class Models(Protocol):
    """Reads the cluster models from collector."""

    async def compute(self) -> ComputeSnapshot | None:
        """None when no model was built yet; Unavailable when collector does not answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything a use case may reach, handed down by `main`."""

    store: Store
    clock: Clock
    new_uuid: Callable[[], str]
    waker: Waker
    strategy_states: StrategyStates
    models: Models
    settings: ApiSettings
