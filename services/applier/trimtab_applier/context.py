"""What a running action sees of its runner: the implementation of `ActionContext`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from trimtab_applier.beyond import Beyond
from trimtab_applier.errors import ActionFailed
from trimtab_applier.journal import Journal
from trimtab_applier.lease import LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.settings import NovaSettings
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action, Json
from trimtab_common.openstack.cinder_writes import CinderWrites
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.openstack.power_writes import PowerWrites
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock

T = TypeVar("T")
SLACK_S = 0.5
"""What may pass between a look at the lease and a write; its real limit is shorter by more."""


@dataclass(frozen=True, slots=True)
class RunParts:
    """What all actions of one plan's run share."""

    journal: Journal
    keeper: LeaseKeeper
    clock: Clock
    nova: NovaWrites
    moves: MoveWatcher
    limits: NovaSettings
    beyond: Beyond = field(default_factory=Beyond)


class RunContext:
    """The context of one action."""

    def __init__(self, action: Action, parts: RunParts) -> None:
        self._uuid = action.uuid
        self._facts = action.facts or {}
        self._is_resumed = action.state is not ActionState.PENDING
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
    def facts(self) -> Mapping[str, Json]:
        """What the plan relied on."""
        return self._facts

    @property
    def is_settled(self) -> bool:
        """Nobody before us began it, or whatever that one sent has ended."""
        return not self._is_resumed or self._parts.keeper.is_quiet

    @property
    def clock(self) -> Clock:
        """Time."""
        return self._parts.clock

    @property
    def nova(self) -> NovaWrites:
        """The compute service."""
        return self._parts.nova

    @property
    def cinder(self) -> CinderWrites:
        """The block storage service."""
        return self._parts.beyond.cinder

    @property
    def power(self) -> PowerWrites:
        """What switches machines."""
        return self._parts.beyond.power

    async def reread(self, kind: str, uuid: str) -> None:
        """Has collector look."""
        await self._parts.beyond.reread(kind, uuid)

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

    async def run_inverse(self) -> bool:
        """Only while the plan is rolled back, see `reverts`."""
        raise ActionFailed("The plan is not being rolled back")

    async def write(self, call: Callable[[], Awaitable[T]]) -> T:
        """One cloud write; once begun it is waited for, even by a task that is cancelled."""
        needed_s = self._parts.limits.write_timeout_s
        await self._parts.keeper.ensure(needed_s)
        failpoints.reach("applier.write.before")
        self._parts.keeper.check(needed_s - SLACK_S)  # who slept just now writes nothing
        writing = asyncio.ensure_future(call())
        try:
            answer = await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait({writing})
            if not writing.cancelled():
                writing.exception()  # seen; what it did is looked for by whoever resumes
            raise
        failpoints.reach("applier.write.after")
        return answer
