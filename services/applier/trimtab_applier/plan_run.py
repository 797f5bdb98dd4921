"""One action plan from its claim to its end: the heart of the applier.

The record says what has been done; `Frontier` says what may start; each action runs as a task of
its own. Everything that stops a run (a crash, a lost lease, an error of the store) leaves the
record as it is: whoever takes the plan next goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from trimtab_applier import metrics
from trimtab_applier.action_run import ActionRun
from trimtab_applier.actions import ActionTypes
from trimtab_applier.context import RunParts
from trimtab_applier.errors import PlanGraphInvalid, PlanInterrupted, PlanStale
from trimtab_applier.graph import ExecutionRule, Frontier, PlanGraph, build_graph
from trimtab_applier.lanes import Lanes
from trimtab_applier.outcome import plan_outcome
from trimtab_applier.reverts import PlanRevert, is_begun
from trimtab_applier.settings import ApplierSettings, OnCancel, OnRestart
from trimtab_applier.staleness import changes_since
from trimtab_common.domain.inverses import origin_message, origin_of
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.runtime import failpoints

log = structlog.get_logger(__name__)
IGNORED = "Action was skipped automatically: ignored by rule ANY"
NOT_STARTED = "Not started: another action failed, and the action plan is rolled back."


@dataclass(frozen=True, slots=True)
class _Ended:
    uuid: str
    state: ActionState


class PlanRun:
    """Runs one plan under one lease."""

    def __init__(self, *, parts: RunParts, types: ActionTypes, settings: ApplierSettings) -> None:
        self._parts = parts
        self._journal = parts.journal
        self._types = types
        self._settings = settings
        self._lanes = Lanes(settings.lane_limits)
        self._actions: dict[str, Action] = {}
        self._states: dict[str, ActionState] = {}
        self._running: dict[str, ActionRun] = {}
        self._undone: str | None = None  # how the reverts of a failed plan went
        self._origin: str | None = None  # what a plan that rolls back another says of itself
        self._causes: dict[str, str] = {}  # what failed actions said of it, the first to fail first
        self._note: str | None = None  # what the plan's message says if nothing else has to be said
        self._events: asyncio.Queue[_Ended | None] = asyncio.Queue()  # None: look at the plan
        self._look = asyncio.Event()

    def wake(self) -> None:
        """The plan may have been cancelled: look at the record now."""
        self._look.set()

    async def run(self) -> None:
        """Runs the plan to its end, or to where the record no longer lets it.

        Raises:
            LeaseLost: another applier may own the plan.
        """
        plan, actions = await self._journal.load()
        try:
            graph = build_graph(actions)
        except PlanGraphInvalid as error:
            await self._fail_before_start(plan, actions, error)
            return
        origin = origin_of(actions)
        self._note = self._origin = None if origin is None else origin_message(origin)
        self._actions = {action.uuid: action for action in actions}
        self._states = {action.uuid: action.state for action in actions}
        self._causes = {
            action.uuid: action.status_message or ""
            for action in actions
            if action.state is ActionState.FAILED
        }
        try:
            await self._run_in_group(plan, graph)
        except* PlanInterrupted as group:
            log.info("plan interrupted", plan=plan.uuid, cause=str(group.exceptions[0]))

    async def _run_in_group(self, plan: ActionPlan, graph: PlanGraph) -> None:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._parts.keeper.keep())
            watching = group.create_task(self._watch_plan())
            await self._run_from(plan, graph, group)
            keeping.cancel()
            watching.cancel()

    async def _run_from(self, plan: ActionPlan, graph: PlanGraph, group: asyncio.TaskGroup) -> None:
        """Dispatches on the state that the record shows."""
        failpoints.reach("applier.plan.loaded")
        if plan.state is PlanState.PENDING:
            if self._origin is None and await self._refuse_stale(plan, graph):
                return
            await self._journal.start_plan(self._settings.host)
            failpoints.reach("applier.plan.started")
        elif plan.state is PlanState.ONGOING:
            log.info("plan resumed", plan=plan.uuid, after=plan.hostname)
            if self._settings.on_restart is OnRestart.CANCEL:
                await self._cancel_as_interrupted(plan)
                return
            await self._adopt(plan)
            failpoints.reach("applier.plan.adopted")
        elif plan.state is PlanState.CANCELLING:
            await self._adopt(plan)
        else:
            return
        if plan.state is not PlanState.CANCELLING and await self._execute(plan, graph, group):
            return
        await self._cancel(graph, group)

    async def _adopt(self, plan: ActionPlan) -> None:
        """Says who goes on with a plan that another run began, perhaps here."""
        now = f"{self._parts.clock.now():%Y-%m-%d %H:%M:%S} UTC"
        self._note = self._told(
            f"Taken over by the applier on {self._settings.host} at {now}: the one on "
            f"{plan.hostname} ended or was cut off."
        )
        await self._journal.adopt(self._settings.host, self._note)

    def _told(self, message: str) -> str:
        """The message, after what the plan says of itself."""
        return message if self._origin is None else f"{self._origin} {message}"

    @property
    def _is_failing(self) -> bool:
        """Nothing more is to start: what was done is to be undone (B-300). Undoing is not undone."""
        return (
            self._settings.rollback_when_failed
            and self._origin is None
            and bool(self._in_state(ActionState.FAILED))
        )

    async def _refuse_stale(self, plan: ActionPlan, graph: PlanGraph) -> bool:
        """Fails a plan that relies on what is so no more, before anything is begun."""
        found = await changes_since(self._parts.nova, plan.created_at, list(self._actions.values()))
        if not found:
            return False
        for uuid, changes in found.items():
            await self._journal.end_pending(
                [uuid], ActionState.FAILED, message=f"The plan is stale: {changes}"
            )
        others = [uuid for uuid in graph.uuids if uuid not in found]
        await self._journal.end_pending(
            others,
            ActionState.CANCELLED,
            message="The plan is stale: other actions rely on changes.",
        )
        first = next(iter(found.values()))
        error = PlanStale(
            f"The plan is stale and nothing of it was done: {len(found)} of {len(graph.uuids)} actions "
            f"rely on what changed since it was made ({first}). Create the audit again."
        )
        await self._journal.end_plan(
            PlanState.FAILED,
            source=PlanState.PENDING,
            event="action_plan.execution.error",
            message=error.message,
            error=error,
        )
        metrics.PLANS.labels(PlanState.FAILED).inc()
        log.info("plan refused", plan=plan.uuid, stale_actions=len(found))
        return True

    async def _execute(self, plan: ActionPlan, graph: PlanGraph, group: asyncio.TaskGroup) -> bool:
        """Runs all actions and ends the plan. False: it is being cancelled."""
        rule = self._settings.rule_of(plan.strategy_name)
        if self._origin is not None:
            rule = ExecutionRule.ALWAYS
        frontier = Frontier(graph, self._states, rule)
        for uuid in self._in_state(ActionState.ONGOING, ActionState.CANCELLING):
            self._lanes.hold(uuid, self._lanes_of(uuid))
            self._start(uuid, group)
        while True:
            if not self._is_failing:
                await self._skip_ignored(frontier)
                self._start_ready(frontier, group)
            if not self._running:
                break
            event = await self._events.get()
            if event is None:
                if await self._journal.plan_state() is not PlanState.ONGOING:
                    return False
                continue
            self._note_end(event)
            if event.state is ActionState.PENDING:
                return False
            frontier.end(event.uuid, event.state)
        if self._is_failing:
            await self._cancel_pending(graph, NOT_STARTED)
            self._undone = await self._revert(group)
        return await self._finish()

    async def _revert(self, group: asyncio.TaskGroup, *, only_begun: bool = False) -> str:
        _, actions = await self._journal.load()
        reverting = PlanRevert(
            actions, self._states, parts=self._parts, types=self._types, settings=self._settings
        )
        undone = await reverting.run(group, only_begun=only_begun)
        log.info("plan rolled back", plan=self._journal.uuid, outcome=undone.message)
        return undone.message

    async def _finish(self) -> bool:
        outcome = plan_outcome(self._actions.values(), self._states, self._causes)
        said = [part for part in (self._undone, outcome.message) if part]
        failpoints.reach("applier.plan.finishing")
        try:
            await self._journal.end_plan(
                outcome.state,
                source=PlanState.ONGOING,
                event=outcome.event,
                message=self._told(" ".join(said)) if said else self._note,
                error=outcome.error,
            )
        except PlanInterrupted:
            return False
        metrics.PLANS.labels(outcome.state).inc()
        log.info("plan ended", plan=self._journal.uuid, state=outcome.state)
        return True

    def _start_ready(self, frontier: Frontier, group: asyncio.TaskGroup) -> None:
        while len(self._running) < self._settings.max_workers:
            uuid = self._lanes.next_waiter() or frontier.next()
            if uuid is None:
                return
            if self._lanes.enter(uuid, self._lanes_of(uuid)):
                self._start(uuid, group)

    def _lanes_of(self, uuid: str) -> tuple[str, ...]:
        action = self._actions[uuid]
        plugin = self._types.by_name.get(action.action_type)
        return () if plugin is None else plugin.lanes(action.input_parameters)

    def _start(self, uuid: str, group: asyncio.TaskGroup) -> None:
        run = ActionRun(self._actions[uuid], types=self._types, parts=self._parts)
        self._running[uuid] = run
        group.create_task(self._run_action(run))

    async def _run_action(self, run: ActionRun) -> None:
        try:
            state = await run.run()
        except PlanInterrupted:
            state = ActionState.PENDING
        failpoints.reach("applier.action.ended")
        self._events.put_nowait(_Ended(run.uuid, state))

    def _note_end(self, event: _Ended) -> None:
        run = self._running.pop(event.uuid)
        if event.state is ActionState.FAILED:
            self._causes.setdefault(event.uuid, run.problem)
        self._lanes.leave(event.uuid)
        self._states[event.uuid] = event.state
        if event.state is not ActionState.PENDING:
            metrics.ACTIONS.labels(self._actions[event.uuid].action_type, event.state).inc()

    async def _skip_ignored(self, frontier: Frontier) -> None:
        ignored = frontier.take_ignored()
        if ignored:
            await self._journal.end_pending(ignored, ActionState.SKIPPED, message=IGNORED)
            self._states.update(dict.fromkeys(ignored, ActionState.SKIPPED))

    async def _cancel(self, graph: PlanGraph, group: asyncio.TaskGroup) -> None:
        """Ends a CANCELLING plan: nothing new starts, what runs is aborted (B-280..B-283).

        Raises:
            PlanInterrupted: it is not CANCELLING.
        """
        state = await self._journal.plan_state()
        if state is not PlanState.CANCELLING:
            raise PlanInterrupted(f"Plan {self._journal.uuid} is {state}")
        failpoints.reach("applier.cancel.before")
        if self._undone or not self._in_state(ActionState.CANCELLED, ActionState.CANCELLING):
            await self._journal.announce_cancel()
        await self._cancel_pending(graph)
        failpoints.reach("applier.cancel.pending")
        for uuid in self._in_state(ActionState.ONGOING, ActionState.CANCELLING):
            if uuid not in self._running:
                self._start(uuid, group)
        failed = await self._stop_running()
        await self._cancel_pending(graph)
        if self._undone or any(is_begun(action) for action in self._actions.values()):
            self._note = self._undone = await self._revert(group, only_begun=True)
        to = PlanState.FAILED if failed else PlanState.CANCELLED
        await self._journal.end_plan(
            to,
            source=PlanState.CANCELLING,
            event="action_plan.cancel.error" if failed else "action_plan.cancel.end",
            message=f"Cancelling failed for {', '.join(failed)}" if failed else self._note,
        )
        metrics.PLANS.labels(to).inc()
        log.info("plan cancelled", plan=self._journal.uuid, failed=failed)

    async def _cancel_pending(self, graph: PlanGraph, message: str | None = None) -> None:
        pending = [
            uuid
            for uuid in (graph.uuids[place] for place in reversed(graph.order))
            if self._states[uuid] is ActionState.PENDING and uuid not in self._running
        ]
        await self._journal.end_pending(
            pending,
            ActionState.CANCELLED,
            message=message,
            events=("action.cancel.start", "action.cancel.end"),
        )
        self._states.update(dict.fromkeys(pending, ActionState.CANCELLED))

    async def _stop_running(self) -> list[str]:
        """Stops what can be stopped and waits for all; the uuids whose abort failed."""
        if self._settings.on_cancel is OnCancel.ABORT:
            await asyncio.gather(*(run.stop() for run in self._running.values()))
        failed: list[str] = []
        while self._running:
            event = await self._events.get()
            if event is None:
                continue
            was_stopped = self._running[event.uuid].was_stopped
            self._note_end(event)
            if was_stopped and event.state is ActionState.FAILED:
                failed.append(event.uuid)
        return failed

    async def _cancel_as_interrupted(self, plan: ActionPlan) -> None:
        """What Watcher does with a plan whose applier stopped (A-103)."""
        cause = f"because Applier {plan.hostname} was stopped while the action plan was ongoing."
        open_states = (ActionState.PENDING, ActionState.ONGOING)
        for uuid in reversed(self._in_state(*open_states)):
            await self._journal.end_action(
                uuid,
                ActionState.CANCELLED,
                source=self._states[uuid],
                status_message=f"Action was cancelled {cause}",
            )
        await self._journal.end_plan(
            PlanState.CANCELLED,
            source=PlanState.ONGOING,
            event="action_plan.cancel.end",
            message=f"Action plan was cancelled {cause}",
        )

    async def _fail_before_start(
        self, plan: ActionPlan, actions: Sequence[Action], error: PlanGraphInvalid
    ) -> None:
        if plan.state not in (PlanState.PENDING, PlanState.ONGOING, PlanState.CANCELLING):
            return
        pending = [action.uuid for action in actions if action.state is ActionState.PENDING]
        await self._journal.end_pending(
            pending, ActionState.CANCELLED, message="The action plan could not be started."
        )
        await self._journal.end_plan(
            PlanState.FAILED,
            source=plan.state,
            event="action_plan.execution.error",
            message=error.message,
            error=error,
        )

    def _in_state(self, *states: ActionState) -> list[str]:
        return [uuid for uuid, state in self._states.items() if state in states]

    async def _watch_plan(self) -> None:
        """Looks at the record when woken, and every second, for a cancel (B-280)."""
        while True:
            timer = asyncio.create_task(self._parts.clock.sleep(self._settings.cancel_poll_s))
            woken = asyncio.create_task(self._look.wait())
            try:
                await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
                woken.cancel()
            self._look.clear()
            self._events.put_nowait(None)
