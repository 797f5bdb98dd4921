"""Follows one server that Nova moves: live, cold or to another flavor, from the request to its end.

What has been done is looked for before anything is asked, so that the same steps start a move
and resume one after a crash. The outcome is Nova's migration record together with the server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import datetime

import structlog

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionContext
from trimtab_applier.errors import ActionFailed
from trimtab_applier.moves import MoveView, MoveWatch
from trimtab_common.domain.errors import (
    Conflict,
    InvalidArgument,
    NotFound,
    TrimtabError,
)
from trimtab_common.openstack.nova_writes import MigrationView, OutcomeUnknown, ServerView
from trimtab_common.runtime import failpoints

log = structlog.get_logger(__name__)
FAILED = frozenset({"failed", "error", "cancelled", "reverted"})
GIVEN_UP_AFTER_S = 30.0
"""A server that is idle so long although its migration is said to go on is not moving: a compute
that died leaves such records, a queued one for ever."""


async def note_before(context: ActionContext, server: ServerView) -> None:
    """Puts into the intent what the server was like before the move; for pre_condition."""
    earlier = await context.nova.migrations_of(server.uuid)
    context.intend(
        source_host=server.host,
        prior_status=server.status,
        prior_flavor=server.flavor,
        last_migration_id=max((migration.number for migration in earlier), default=0),
        at=context.clock.now().isoformat(),
    )


class Move:
    """One move of one server. `destination` None: Nova chooses."""

    def __init__(
        self,
        context: ActionContext,
        *,
        server: str,
        destination: str | None,
        request: Callable[[], Awaitable[object]],
        may_stay: bool = False,
    ) -> None:
        self._context = context
        self._server = server
        self._destination = destination
        self._may_stay = may_stay
        self._asking = Asking(context, request)
        self._confirming = Asking(context, lambda: context.nova.confirm_resize(server))
        self._source = str(context.intent["source_host"])
        self._prior_status = str(context.intent["prior_status"])
        self._idle_since: float | None = None

    async def run(self, *, is_new: bool) -> bool:
        """Asks if that was not done before, and follows the move to its end; True: it succeeded.

        Raises:
            ActionFailed: it did not, and why.
        """
        until = self._context.clock.monotonic() + self._context.limits.migration_timeout_s
        last: MigrationView | None = None
        with self._watching() as watch:
            if is_new:
                await self._asking.ask()
            while self._context.clock.monotonic() < until:
                view = await _look(watch)
                if view is None:
                    continue
                last = view.migration
                if await self._step(view):
                    return True
        raise ActionFailed(
            f"The move of {self._server} did not end within "
            f"{self._context.limits.migration_timeout_s:g} s, Nova shows {_shown(last)}"
        )

    async def abort(self) -> bool:
        """Stops a live migration. False: the server had already moved.

        Raises:
            ActionFailed: neither.
        """
        began = self._context.clock.monotonic()
        until = began + self._context.limits.abort_timeout_s
        shows_by = began + self._context.limits.write_timeout_s
        with self._watching() as watch:
            while self._context.clock.monotonic() < until:
                view = await _look(watch)
                if view is None:
                    continue
                if view.gone:
                    raise ActionFailed(f"Instance {self._server} is gone")
                if view.migration is not None and view.is_in_progress:
                    await self._ask_to_abort(view.migration)
                elif view.migration is None and self._context.clock.monotonic() < shows_by:
                    continue  # a request whose answer was lost may still arrive
                elif view.server is not None and view.server.task_state is None:
                    return self._is_back(view.server)
        raise ActionFailed(f"The live migration of {self._server} could not be aborted in time")

    def _watching(self) -> AbstractContextManager[MoveWatch]:
        return self._context.moves.watching(
            self._server,
            after=int(self._context.intent["last_migration_id"]),
            since=datetime.fromisoformat(self._context.intent["at"]),
        )

    async def _step(self, view: MoveView) -> bool:
        """Does what this view asks for; True: the move is done."""
        if view.gone:
            raise ActionFailed(f"Instance {self._server} is gone")
        server, migration = view.server, view.migration
        if server is None or self._is_under_way(server, view):
            return False
        if server.status == "ERROR":
            raise ActionFailed(
                f"Instance {self._server} is in ERROR, Nova shows {_shown(migration)}"
            )
        if migration is None:
            if server.host == self._source:
                await self._asking.found_no_trace()
                return False
            return self._has_arrived(server, migration)
        if migration.status in FAILED:
            raise ActionFailed(
                f"Nova's migration {_shown(migration)}; the instance is {server.status} "
                f"on {server.host}"
            )
        if server.status == "VERIFY_RESIZE":
            self._has_arrived(server, migration)
            await self._confirming.found_no_trace()
            return False
        if migration.status == "finished":
            return False  # Nova has not shown VERIFY_RESIZE yet, or confirms by itself
        return self._has_arrived(server, migration)

    def _is_under_way(self, server: ServerView, view: MoveView) -> bool:
        """Whether Nova works on the server, or did so until less than GIVEN_UP_AFTER_S ago."""
        if server.task_state is not None:
            self._idle_since = None
            return True
        if not view.is_in_progress or server.status == "ERROR":
            return False
        now = self._context.clock.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since < GIVEN_UP_AFTER_S

    def _has_arrived(self, server: ServerView, migration: MigrationView | None) -> bool:
        if self._destination is None:
            arrived = self._may_stay or server.host != self._source
        else:
            arrived = server.host == self._destination
        if not arrived:
            raise ActionFailed(
                f"Instance {self._server} is on {server.host}, not on "
                f"{self._destination or 'another host'}; Nova shows {_shown(migration)}"
            )
        self._context.found(
            host=server.host, migration_id=None if migration is None else migration.number
        )
        return True

    async def _ask_to_abort(self, migration: MigrationView) -> None:
        """Asks again at every look: Nova refuses while it prepares and while it finishes."""
        try:
            await self._context.write(
                lambda: self._context.nova.abort_live_migration(self._server, migration.number)
            )
        except (Conflict, InvalidArgument, NotFound, OutcomeUnknown) as error:
            log.info("abort refused", action=self._context.uuid, problem=error.message)

    def _is_back(self, server: ServerView) -> bool:
        if server.status != self._prior_status:
            raise ActionFailed(
                f"LiveMigrationFailed: instance {self._server} is {server.status} on {server.host}"
            )
        self._context.found(host=server.host)
        return server.host == self._source


async def _look(watch: MoveWatch) -> MoveView | None:
    """The next view; None when Nova did not answer, or refused to: that says nothing of the move."""
    try:
        view = await watch.next()
    except TrimtabError as error:
        log.warning("move not seen", server=watch.server, problem=error.message)
        return None
    failpoints.reach("applier.move.seen")
    return view


def _shown(migration: MigrationView | None) -> str:
    return "no migration" if migration is None else f"{migration.number} is {migration.status}"
