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
from trimtab_applier.errors import PlanGraphInvalid, PlanInterrupted
from trimtab_applier.graph import Frontier, PlanGraph, build_graph
from trimtab_applier.lanes import Lanes
from trimtab_applier.outcome import plan_outcome
from trimtab_applier.settings import ApplierSettings, OnCancel, OnRestart
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.domain.records import Action, ActionPlan

log = structlog.get_logger(__name__)
IGNORED = "Action was skipped automatically: ignored by rule ANY"


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
        self._actions = {action.uuid: action for action in actions}
        self._states = {action.uuid: action.state for action in actions}
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
        if plan.state is PlanState.PENDING:
            await self._journal.start_plan(self._settings.host)
        elif plan.state is PlanState.ONGOING:
            log.info("plan resumed", plan=plan.uuid, after=plan.hostname)
            if self._settings.on_restart is OnRestart.CANCEL:
                await self._cancel_as_interrupted(plan)
                return
            await self._journal.adopt(self._settings.host)
        elif plan.state is not PlanState.CANCELLING:
            return
        if plan.state is not PlanState.CANCELLING and await self._execute(plan, graph, group):
            return
        await self._cancel(graph, group)

    async def _execute(self, plan: ActionPlan, graph: PlanGraph, group: asyncio.TaskGroup) -> bool:
        """Runs all actions and ends the plan. False: it is being cancelled."""
        rule = self._settings.rule_of(plan.strategy_name)
        frontier = Frontier(graph, self._states, rule)
        for uuid in self._in_state(ActionState.ONGOING, ActionState.CANCELLING):
            self._lanes.hold(uuid, self._lanes_of(uuid))
            self._start(uuid, group)
        while True:
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
        return await self._finish()

    async def _finish(self) -> bool:
        outcome = plan_outcome(self._actions.values(), self._states)
        try:
            await self._journal.end_plan(
                outcome.state,
                source=PlanState.ONGOING,
                event=outcome.event,
                message=outcome.message,
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
        self._events.put_nowait(_Ended(run.uuid, state))

    def _note_end(self, event: _Ended) -> None:
        del self._running[event.uuid]
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
        if not self._in_state(ActionState.CANCELLED, ActionState.CANCELLING):
            await self._journal.announce_cancel()
        await self._cancel_pending(graph)
        for uuid in self._in_state(ActionState.ONGOING, ActionState.CANCELLING):
            if uuid not in self._running:
                self._start(uuid, group)
        failed = await self._stop_running()
        await self._cancel_pending(graph)
        to = PlanState.FAILED if failed else PlanState.CANCELLED
        await self._journal.end_plan(
            to,
            source=PlanState.CANCELLING,
            event="action_plan.cancel.error" if failed else "action_plan.cancel.end",
            message=f"Cancelling failed for {', '.join(failed)}" if failed else None,
        )
        metrics.PLANS.labels(to).inc()
        log.info("plan cancelled", plan=self._journal.uuid, failed=failed)

    async def _cancel_pending(self, graph: PlanGraph) -> None:
        pending = [
            uuid
            for uuid in (graph.uuids[place] for place in reversed(graph.order))
            if self._states[uuid] is ActionState.PENDING and uuid not in self._running
        ]
        await self._journal.end_pending(
            pending, ActionState.CANCELLED, events=("action.cancel.start", "action.cancel.end")
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
