"""Undoes what a failed plan has done, last action first, each through its `revert` (B-300).

Only with `rollback_when_actionplan_failed`. The actions keep their state; what became of each
stands in its message and its result, and what a revert is about to do in its intent. So whoever
takes over a rollback goes on with the reverts that were begun, and repeats none that has ended.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from trimtab_applier import metrics
from trimtab_applier.actions import ActionTypes
from trimtab_applier.context import RunContext, RunParts
from trimtab_applier.errors import ActionFailed, ActionSkipped, FactsChanged, LeaseLost, why
from trimtab_applier.graph import ExecutionRule, Frontier, build_graph
from trimtab_applier.lanes import Lanes
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.inverses import (
    REVERTED,
    UNDONE,
    Inverse,
    NotInvertible,
    inverse_of,
    undo_order,
)
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action, Json
from trimtab_common.runtime import failpoints
from trimtab_common.store import StoreBusy, StoreUnreachable

log = structlog.get_logger(__name__)
_BEYOND = (LeaseLost, StoreBusy, StoreUnreachable)
BEGUN = "revert"
"""Where the intent of an action holds the intent of its revert."""
_NAMED = 2


def is_begun(action: Action) -> bool:
    """Whether somebody began to undo it."""
    return BEGUN in (action.intent or {}) or REVERTED in (action.result or {})


class RevertContext(RunContext):
    """The context of an action that is undone."""

    def __init__(self, action: Action, parts: RunParts, types: ActionTypes) -> None:
        super().__init__(action, parts)
        self._action = action
        self._types = types

    async def run_inverse(self) -> bool:
        """As an action of its own, whose intent is kept within this one's."""
        try:
            inverse = inverse_of(self._action)
        except NotInvertible as reason:
            raise ActionSkipped(str(reason)) from reason
        begun = self.intent.get(BEGUN)
        own = dataclasses.replace(
            self._action,
            action_type=inverse.action_type,
            input_parameters=inverse.parameters,
            facts=inverse.facts,
            intent=begun,
            result=None,
            state=ActionState.PENDING if begun is None else ActionState.ONGOING,
        )
        context = _InverseContext(own, self._parts, self)
        plugin = self._types.of(own)(context)
        if begun is None:
            try:
                await plugin.pre_condition()
            except FactsChanged as changed:
                raise changed.when_undoing() from changed
            await context.commit_intent()
            failpoints.reach("applier.revert.started")
            done = await plugin.execute()
        else:
            done = await plugin.resume()
        if done is True:
            await plugin.post_condition()
        return done


class _InverseContext(RunContext):
    def __init__(self, action: Action, parts: RunParts, outer: RevertContext) -> None:
        super().__init__(action, parts)
        self._outer = outer

    async def commit_intent(self, **facts: Json) -> None:
        self.intend(**facts)
        await self._outer.commit_intent(**{BEGUN: dict(self.intent)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverted:
    """How a rollback went: uuids of the actions. `left`: not tried, for it was stopped."""

    undone: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def message(self) -> str:
        """For the plan."""
        parts = [f"{len(self.undone)} reverted"]
        if self.skipped:
            parts.append(f"{len(self.skipped)} need or bear no revert")
        if self.failed:
            more = ", ..." if len(self.failed) > _NAMED else ""
            parts.append(
                f"{len(self.failed)} not reverted ({', '.join(self.failed[:_NAMED])}{more})"
            )
        if self.left:
            parts.append(f"{len(self.left)} left as they are")
        return f"Rollback: {', '.join(parts)}."


class PlanRevert:
    """Undoes one plan under its lease; begins anew, or goes on."""

    def __init__(
        self,
        actions: Iterable[Action],
        states: Mapping[str, ActionState],
        *,
        parts: RunParts,
        types: ActionTypes,
        settings: ApplierSettings,
    ) -> None:
        self._actions = {
            action.uuid: dataclasses.replace(action, state=states[action.uuid])
            for action in actions
        }
        self._parts = parts
        self._journal = parts.journal
        self._types = types
        self._settings = settings
        self._lanes = Lanes(settings.lane_limits)
        self._ended: dict[str, str] = {}  # uuid: one of the names in Reverted
        self._running: dict[asyncio.Task[None], str] = {}

    async def run(self, group: asyncio.TaskGroup, *, only_begun: bool = False) -> Reverted:
        """Ends when all is undone, or when the plan is no longer ONGOING and nothing runs.

        `only_begun`: goes on with what was begun and begins nothing.

        Raises:
            LeaseLost: another applier may own the plan.
        """
        wanted = self._wanted()
        frontier = self._frontier(wanted)
        if only_begun:
            for uuid in wanted:
                if BEGUN in (self._actions[uuid].intent or {}):
                    self._start(uuid, group)
        may_start = not only_begun
        while True:
            if may_start:
                self._start_ready(frontier, group)
            if not self._running:
                break
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                uuid = self._running.pop(task)
                self._lanes.leave(uuid)
                frontier.end(uuid, ActionState.SUCCEEDED)
            if await self._journal.plan_state() is not PlanState.ONGOING:
                may_start = False
        return self._outcome(wanted)

    def _start_ready(self, frontier: Frontier, group: asyncio.TaskGroup) -> None:
        while len(self._running) < self._settings.max_workers:
            uuid = self._lanes.next_waiter() or frontier.next()
            if uuid is None:
                return
            if self._lanes.enter(uuid, self._lanes_of(self._actions[uuid])):
                self._start(uuid, group)

    def _wanted(self) -> list[str]:
        """What succeeded and was not dealt with yet; what was, is counted."""
        wanted = []
        for uuid, action in self._actions.items():
            tried = (action.result or {}).get(REVERTED)
            if action.state is ActionState.SUCCEEDED and tried is None:
                wanted.append(uuid)
            elif tried is not None:
                self._ended[uuid] = str(tried)
        return wanted

    def _frontier(self, wanted: list[str]) -> Frontier:
        actions = list(self._actions.values())
        waits = undo_order(actions, {uuid: _inverse(self._actions[uuid]) for uuid in wanted})
        graph = build_graph(
            [dataclasses.replace(self._actions[uuid], parents=waits[uuid]) for uuid in waits]
        )
        return Frontier(graph, dict.fromkeys(waits, ActionState.PENDING), ExecutionRule.ALWAYS)

    def _lanes_of(self, action: Action) -> tuple[str, ...]:
        """Those of the action, with the hosts the other way round."""
        plugin = self._types.by_name.get(action.action_type)
        lanes = () if plugin is None else plugin.lanes(action.input_parameters)
        swapped = {"out": "in", "in": "out"}
        split = (lane.partition(":") for lane in lanes)
        return tuple(f"{swapped.get(kind, kind)}{colon}{host}" for kind, colon, host in split)

    def _start(self, uuid: str, group: asyncio.TaskGroup) -> None:
        self._running[group.create_task(self._revert(self._actions[uuid]))] = uuid

    async def _revert(self, action: Action) -> None:
        """One action; whatever its plug-in raises is recorded, and the others go on."""
        outcome, message = UNDONE, "Reverted, because the action plan failed."
        failpoints.reach("applier.revert.before")
        context = RevertContext(action, self._parts, self._types)
        try:
            if await self._types.of(action)(context).revert() is not True:
                raise ActionFailed(f"the revert of {action.action_type} did not succeed")  # noqa: TRY301
        except ActionSkipped as skip:
            outcome, message = "skipped", f"Not reverted: {skip.message}"
        except _BEYOND:
            raise
        except Exception as error:
            outcome, message = "failed", f"Revert failed: {why(error)}"
            log.warning("revert failed", action=action.uuid, problem=why(error), exc_info=error)
        failpoints.reach("applier.revert.worked")
        result = {**context.result, REVERTED: outcome}
        await self._journal.note_revert(action.uuid, message, result)
        self._ended[action.uuid] = outcome
        metrics.REVERTS.labels(action.action_type, outcome).inc()

    def _outcome(self, wanted: list[str]) -> Reverted:
        def of(outcome: str) -> tuple[str, ...]:
            return tuple(uuid for uuid, ended in self._ended.items() if ended == outcome)

        return Reverted(
            undone=of(UNDONE),
            skipped=of("skipped"),
            failed=of("failed"),
            left=tuple(uuid for uuid in wanted if uuid not in self._ended),
        )


def _inverse(action: Action) -> Inverse | None:
    try:
        return inverse_of(action)
    except NotInvertible:
        return None
