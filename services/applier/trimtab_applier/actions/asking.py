"""Asks the cloud for one thing and remembers how that went, so that nothing is asked twice.

A conflict means "running already" as often as "not now", and no answer means nothing at all:
in both cases the caller looks, and comes back here with what it did not find.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

import structlog

from trimtab_applier.actions.contract import ActionContext
from trimtab_applier.errors import ActionFailed
from trimtab_common.domain.errors import Conflict
from trimtab_common.openstack.nova_writes import OutcomeUnknown

log = structlog.get_logger(__name__)
TRACE_WITHIN_S = 30.0
"""Nova shows a trace of what it accepted within this."""


class Answer(Enum):
    """How the last try went."""

    NONE = auto()
    ACCEPTED = auto()
    CONFLICT = auto()
    UNKNOWN = auto()


class Asking:
    """One request to the cloud, tried again only after a look that found no trace of it."""

    def __init__(
        self, context: ActionContext, call: Callable[[], Awaitable[object]], *, patience: int = 0
    ) -> None:
        """patience: how often a conflict only means "not now": then it is asked again."""
        self._patience = patience
        self._context = context
        self._call = call
        self._answer = Answer.NONE
        self._error = ""
        self._asked_at = 0.0
        self._tries = 0

    @property
    def is_accepted(self) -> bool:
        """Whether the cloud said yes to the last try."""
        return self._answer is Answer.ACCEPTED

    async def ask(self) -> None:
        """Sends the request.

        Raises:
            TrimtabError: it was refused for good.
        """
        self._tries += 1
        try:
            await self._context.write(self._call)
        except Conflict as error:
            self._answer, self._error = Answer.CONFLICT, error.message
        except OutcomeUnknown as error:
            self._answer, self._error = Answer.UNKNOWN, error.message
            log.warning("outcome unknown", action=self._context.uuid, problem=error.message)
        else:
            self._answer = Answer.ACCEPTED
        self._asked_at = self._context.clock.monotonic()

    async def found_no_trace(self) -> None:
        """The caller looked and saw nothing of it: asks (again), or leaves it time to show.

        Raises:
            ActionFailed: it will not show any more.
        """
        if self._answer is Answer.NONE:
            if self._context.is_settled:
                await self.ask()
            return
        if self._answer is Answer.CONFLICT and self._tries <= self._patience:
            await self.ask()
            return
        if self._answer is Answer.CONFLICT:
            raise ActionFailed(self._error)
        waited_s = self._context.clock.monotonic() - self._asked_at
        limit_s = (
            TRACE_WITHIN_S
            if self._answer is Answer.ACCEPTED
            else self._context.limits.write_timeout_s
        )
        if waited_s < limit_s:
            return
        if self._answer is Answer.ACCEPTED:
            raise ActionFailed("The cloud accepted the request and shows no trace of it")
        if self._tries > self._context.limits.http_retries:
            raise ActionFailed(f"Outcome unknown, the cloud shows no trace of it: {self._error}")
        await self.ask()
