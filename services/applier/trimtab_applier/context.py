"""What a running action sees of its runner: the implementation of `ActionContext`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from trimtab_applier.journal import Journal
from trimtab_applier.lease import LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.settings import NovaSettings
from trimtab_common.domain.records import Action, Json
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.runtime.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunParts:
    """What all actions of one plan's run share."""

    journal: Journal
    keeper: LeaseKeeper
    clock: Clock
    nova: NovaWrites
    moves: MoveWatcher
    limits: NovaSettings


class RunContext:
    """The context of one action."""

    def __init__(self, action: Action, parts: RunParts) -> None:
        self._uuid = action.uuid
        self._parameters = action.input_parameters
        self._intent: dict[str, Json] = dict(action.intent or {})
        self._result: dict[str, Json] = dict(action.result or {})
        self._parts = parts

    @property
    def uuid(self) -> str:
        """Of the action."""
        return self._uuid

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The checked input parameters."""
        return self._parameters

    @property
    def intent(self) -> Mapping[str, Json]:
        """What is committed, or staged, about what the action is about to do."""
        return self._intent

    @property
    def result(self) -> Mapping[str, Json]:
        """What was found afterwards."""
        return self._result

    @property
    def clock(self) -> Clock:
        """Time."""
        return self._parts.clock

    @property
    def nova(self) -> NovaWrites:
        """The compute service."""
        return self._parts.nova

    @property
    def moves(self) -> MoveWatcher:
        """Watches servers that move."""
        return self._parts.moves

    @property
    def limits(self) -> NovaSettings:
        """How long things may take."""
        return self._parts.limits

    def intend(self, **facts: Json) -> None:
        """Adds to the intent."""
        self._intent.update(facts)

    async def commit_intent(self, **facts: Json) -> None:
        """Adds to the intent and commits it."""
        self.intend(**facts)
        await self._parts.journal.commit_intent(self.uuid, self._intent)

    def found(self, **facts: Json) -> None:
        """Adds to the result."""
        self._result.update(facts)

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """One cloud write; once begun it is waited for, even by a task that is cancelled."""
        await self._parts.keeper.ensure(self._parts.limits.write_timeout_s)
        writing = asyncio.ensure_future(call())
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if not writing.cancelled():
                writing.exception()  # seen; what it did is looked for by whoever resumes
            raise
