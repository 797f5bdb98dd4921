"""One action from PENDING to its end: pre_condition, execute, post_condition, or abort.

Exactly the steps of B-272 and B-273. The plug-in's exceptions end here, in the record; only the
loss of the lease and errors of the store go further up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from trimtab_applier.actions import ActionPlugin, ActionTypes
from trimtab_applier.context import RunContext, RunParts
from trimtab_applier.errors import (
    ActionFailed,
    ActionSkipped,
    FactsChanged,
    LeaseLost,
    status_message,
    why,
)
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.inverses import origin_of
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action
from trimtab_common.runtime import failpoints
from trimtab_common.store import StoreBusy, StoreUnreachable

log = structlog.get_logger(__name__)
_BEYOND = (LeaseLost, StoreBusy, StoreUnreachable)
"""They say nothing about the action: the run ends, and whoever resumes it looks."""


class ActionRun:
    """Runs one action once. `state` follows the record."""

    def __init__(self, action: Action, *, types: ActionTypes, parts: RunParts) -> None:
        self._action = action
        self._types = types
        self._journal = parts.journal
        self._context = RunContext(action, parts)
        self._work: asyncio.Task[None] | None = None
        self._phase = "execute"
        self._turn = asyncio.Lock()  # the end of the work and a stop take turns
        self._stop_wanted = False
        self.problem = ""  # why it failed, once it did
        self.state = action.state
        self.was_stopped = action.state is ActionState.CANCELLING

    @property
    def uuid(self) -> str:
        """Of the action."""
        return self._action.uuid

    async def run(self) -> ActionState:
        """From where the record shows the action to its end; the state that it ended in.

        Raises:
            PlanInterrupted: the plan is no longer ONGOING and the action still PENDING.
            LeaseLost: nothing more may be written.
        """
        try:
            plugin = self._types.of(self._action)(self._context)
            if self.state is ActionState.PENDING:
                await self._check(plugin)
        except ActionSkipped as skip:
            message = f"Action was skipped automatically: {skip.message}"
            return await self._end(ActionState.SKIPPED, message)
        except _BEYOND:
            raise
        except Exception as error:  # noqa: BLE001, what a plug-in raises is its action's failure
            message = f"Action failed in pre_condition: {why(error)}"
            return await self._end(ActionState.FAILED, message, error)
        if self.state is ActionState.PENDING:
            return await self._start(plugin)
        if self.state is ActionState.ONGOING:
            return await self._perform(plugin, plugin.resume())
        return await self._abort(plugin)

    async def _check(self, plugin: ActionPlugin) -> None:
        try:
            await plugin.pre_condition()
        except FactsChanged as changed:
            if origin_of([self._action]) is None:
                raise
            raise changed.when_undoing() from changed

    async def stop(self) -> None:
        """Makes `run` abort the action, if it is ONGOING and of an abortable type (B-281)."""
        self._stop_wanted = True
        async with self._turn:
            if self.state is not ActionState.ONGOING or not self._is_abortable():
                return
            await self._journal.end_action(
                self.uuid,
                ActionState.CANCELLING,
                source=ActionState.ONGOING,
                event="action.cancel.start",
            )
            self.state = ActionState.CANCELLING
            self.was_stopped = True
            if self._work is not None:
                self._work.cancel()

    def _is_abortable(self) -> bool:
        plugin = self._types.by_name.get(self._action.action_type)
        return plugin is not None and plugin.is_abortable(self._action.input_parameters)

    async def _start(self, plugin: ActionPlugin) -> ActionState:
        failpoints.reach("applier.action.checked")
        if not await self._journal.start_action(self.uuid, self._context.intent):
            self.state = ActionState.SKIPPED
            return self.state
        self.state = ActionState.ONGOING
        failpoints.reach("applier.action.started")
        if self._stop_wanted:
            await self.stop()
            if self.was_stopped:
                return await self._abort(plugin)
        return await self._perform(plugin, plugin.execute())

    async def _perform(self, plugin: ActionPlugin, work: Coroutine[Any, Any, bool]) -> ActionState:
        error = await self._outcome(plugin, work)
        failpoints.reach("applier.action.worked")
        async with self._turn:
            if self.state is not ActionState.CANCELLING:
                if error is None:
                    return await self._end(ActionState.SUCCEEDED)
                message = f"Action failed in {self._phase}: {why(error)}"
                return await self._end(ActionState.FAILED, message, error)
        return await self._abort(plugin)

    async def _outcome(
        self, plugin: ActionPlugin, work: Coroutine[Any, Any, bool]
    ) -> BaseException | None:
        self._work = asyncio.create_task(self._phases(plugin, work))
        try:
            await asyncio.wait({self._work})
        except asyncio.CancelledError:  # the whole run ends; what was begun is not left behind
            self._work.cancel()
            await asyncio.wait({self._work})
            raise
        if self._work.cancelled():
            return ActionFailed("it was stopped")
        error = self._work.exception()
        if isinstance(error, _BEYOND):
            raise error
        if error is not None:
            foreign = None if isinstance(error, TrimtabError) else error
            log.info(
                "action failed",
                action=self.uuid,
                phase=self._phase,
                problem=why(error),
                exc_info=foreign,
            )
        return error

    async def _phases(self, plugin: ActionPlugin, work: Coroutine[Any, Any, bool]) -> None:
        if await work is not True:
            raise ActionFailed(f"{self._action.action_type} did not succeed")
        self._phase = "post_condition"
        await plugin.post_condition()

    async def _abort(self, plugin: ActionPlugin) -> ActionState:
        try:
            undone = await plugin.abort()
        except _BEYOND:
            raise
        except Exception as error:  # noqa: BLE001, what a plug-in raises is its abort's failure
            message = f"Action failed in abort: {why(error)}"
            return await self._end(ActionState.FAILED, message, error)
        return await self._end(ActionState.CANCELLED if undone else ActionState.SUCCEEDED)

    async def _end(
        self, to: ActionState, message: str | None = None, error: BaseException | None = None
    ) -> ActionState:
        columns: dict[str, Any] = {}
        if error is not None:
            self.problem = why(error)
        if message is not None:
            columns["status_message"] = status_message(message)
        if self._context.result:
            columns["result"] = dict(self._context.result)
        kind = "cancel" if self.state is ActionState.CANCELLING else "execution"
        if to is ActionState.SKIPPED:
            event = None
        else:
            event = f"action.{kind}.{'error' if to is ActionState.FAILED else 'end'}"
        self.state = await self._journal.end_action(
            self.uuid, to, source=self.state, event=event, error=error, **columns
        )
        return self.state
