"""The record of one plan as its runner writes it: each step one fenced compare-and-set.

Nothing here decides; the runner does. When a step conflicts, the state changed under us: the api
may skip an action and cancel a plan, a monitor may cancel it; anything else is a new owner.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from trimtab_applier.errors import LeaseLost, PlanInterrupted, status_message, why
from trimtab_applier.lease import LeaseKeeper
from trimtab_common.domain.errors import Conflict
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Json
from trimtab_common.notify import payloads
from trimtab_common.store import Session, Store

BATCH = 100
"""Actions per transaction: each writes itself and up to three notifications, 500 rows at most."""


def fault_of(error: BaseException | None) -> payloads.Payload | None:
    """The `fault` of an error notification."""
    if error is None:
        return None
    kind = type(error)
    return payloads.fault(exception=kind.__name__, message=why(error), module_name=kind.__module__)


class Journal:
    """Reads and writes one plan under one lease."""

    def __init__(self, store: Store, keeper: LeaseKeeper, uuid: str) -> None:
        self._store = store
        self._keeper = keeper
        self._plan_id = 0
        self.uuid = uuid

    async def load(self) -> tuple[ActionPlan, list[Action]]:
        """The plan and its actions, in order."""
        async with self._store.read() as session:
            plan = await session.action_plans.get(self.uuid)
            self._plan_id = plan.id
            return plan, await session.actions.list_of_plan(self.uuid)

    async def plan_state(self) -> PlanState:
        """What the record shows now."""
        async with self._store.read() as session:
            return await session.action_plans.state(self.uuid)

    async def start_plan(self, host: str) -> None:
        """PENDING to ONGOING, with the host that runs it.

        Raises:
            PlanInterrupted: it was cancelled before.
        """
        await self._move_plan(
            PlanState.ONGOING,
            source=PlanState.PENDING,
            event="action_plan.execution.start",
            hostname=host,
        )

    async def end_plan(
        self,
        to: PlanState,
        *,
        source: PlanState,
        event: str,
        message: str | None = None,
        error: BaseException | None = None,
    ) -> None:
        """The last transition of a plan; its message replaces the one before, None clears it.

        Raises:
            PlanInterrupted: the record shows another state than `source`.
        """
        text = None if message is None else status_message(message)
        await self._move_plan(to, source=source, event=event, error=error, status_message=text)

    async def announce_cancel(self) -> None:
        """The notification that cancelling begins."""

        async def work(session: Session) -> None:
            plan = await session.action_plans.get(self.uuid)
            await session.outbox.emit("action_plan.cancel.start", plan)

        await self._store.transact(work)

    async def adopt(self, host: str, message: str) -> None:
        """Records the host that goes on with a plan whose applier ended, and that it does."""

        async def work(session: Session) -> None:
            await session.action_plans.update(
                self.uuid,
                {"hostname": host, "status_message": status_message(message)},
                fence=self._keeper.lease,
            )

        await self._fenced(work)

    async def start_action(self, uuid: str, intent: Mapping[str, Json]) -> bool:
        """PENDING to ONGOING together with the intent. False: the api skipped it meanwhile.

        Raises:
            PlanInterrupted: the plan is not ONGOING any more.
        """

        async def work(session: Session) -> bool:
            plan = await session.announcer.plan(self._plan_id)
            if plan.state is not PlanState.ONGOING:
                raise PlanInterrupted(f"Plan {self.uuid} is {plan.state}")
            columns = {"intent": dict(intent)} if intent else {}
            try:
                action = await self._move(
                    session, uuid, ActionState.ONGOING, ActionState.PENDING, **columns
                )
            except Conflict as conflict:
                return await self._was_skipped(session, uuid, conflict)
            await session.outbox.emit("action.execution.start", action)
            return True

        return await self._store.transact(work)

    async def end_action(
        self,
        uuid: str,
        to: ActionState,
        *,
        source: ActionState,
        event: str | None = None,
        error: BaseException | None = None,
        **columns: Any,
    ) -> ActionState:
        """Any other transition of one action, with its notification; the state it is in now.

        That is `to`, or SKIPPED when the api skipped a PENDING action meanwhile.

        Raises:
            LeaseLost: the action is in neither state.
        """

        async def work(session: Session) -> ActionState:
            try:
                action = await self._move(session, uuid, to, source, **columns)
            except Conflict as conflict:
                await self._was_skipped(session, uuid, conflict)
                return ActionState.SKIPPED
            if event is not None:
                await _emit(session, event, action, error)
            return to

        return await self._store.transact(work)

    async def end_pending(
        self,
        uuids: Sequence[str],
        to: ActionState,
        *,
        message: str | None = None,
        events: Sequence[str] = (),
    ) -> None:
        """Ends actions that never ran, in this order, in batches."""
        columns = {} if message is None else {"status_message": status_message(message)}

        async def work(session: Session, chunk: Sequence[str]) -> None:
            for uuid in chunk:
                try:
                    action = await self._move(session, uuid, to, ActionState.PENDING, **columns)
                except Conflict as conflict:
                    await self._was_skipped(session, uuid, conflict)
                    continue
                for event in events:
                    await _emit(session, event, action, None)

        for chunk in _chunks(uuids, BATCH):
            await self._store.transact(functools.partial(work, chunk=chunk))

    async def commit_intent(self, uuid: str, intent: Mapping[str, Json]) -> None:
        """What the action is about to do.

        Raises:
            LeaseLost: another owner has the plan.
        """

        async def work(session: Session) -> None:
            await session.actions.update(uuid, {"intent": dict(intent)}, fence=self._keeper.lease)

        await self._fenced(work)

    async def note_revert(self, uuid: str, message: str | None, result: Mapping[str, Json]) -> None:
        """How the undoing of an action went; its state stays (B-300).

        Raises:
            LeaseLost: another owner has the plan.
        """
        columns: dict[str, Any] = {"result": dict(result)}
        if message is not None:
            columns["status_message"] = status_message(message)

        async def work(session: Session) -> None:
            await session.actions.update(uuid, columns, fence=self._keeper.lease)

        await self._fenced(work)

    async def _fenced(self, work: Callable[[Session], Awaitable[None]]) -> None:
        self._keeper.check()
        try:
            await self._store.transact(work)
        except Conflict as conflict:
            raise LeaseLost(conflict.message) from conflict

    async def _move(
        self,
        session: Session,
        uuid: str,
        to: ActionState,
        source: ActionState,
        **columns: Any,
    ) -> Action:
        self._keeper.check()
        return await session.actions.transition(
            uuid,
            to=to,
            actor=Actor.APPLIER,
            source=source,
            fence=self._keeper.lease,
            **columns,
        )

    async def _move_plan(
        self,
        to: PlanState,
        *,
        source: PlanState,
        event: str,
        error: BaseException | None = None,
        **columns: Any,
    ) -> None:
        self._keeper.check()

        async def work(session: Session) -> None:
            plan = await session.action_plans.transition(
                self.uuid,
                to=to,
                actor=Actor.APPLIER,
                source=source,
                fence=self._keeper.lease,
                **columns,
            )
            await _emit(session, event, plan, error)

        try:
            await self._store.transact(work)
        except Conflict as conflict:
            state = await self.plan_state()
            if state is source:
                raise LeaseLost(conflict.message) from conflict
            raise PlanInterrupted(f"Plan {self.uuid} is {state}") from conflict

    @staticmethod
    async def _was_skipped(session: Session, uuid: str, conflict: Conflict) -> bool:
        """False if the action is SKIPPED, so that `return await` reads well; else LeaseLost."""
        if (await session.actions.get(uuid)).state is ActionState.SKIPPED:
            return False
        raise LeaseLost(conflict.message) from conflict


async def _emit(
    session: Session, event: str, subject: Action | ActionPlan, error: BaseException | None
) -> None:
    failed = event.endswith(".error")
    await session.outbox.emit(
        event, subject, priority="ERROR" if failed else "INFO", fault=fault_of(error)
    )


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
