"""WatchAudits: which audits a caller follows, and the messages that say what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from trimtab.audit.v1 import audit_pb2 as pb
from trimtab.common.v1 import watch_pb2
from trimtab_api import idents
from trimtab_api.changes import Change, Progress
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.watching import MAX_NAMED
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import ActionPlan, Audit
from trimtab_common.domain.resources import AUDITS, GOALS
from trimtab_common.store import Query

PAGE = 500
ACTIVE = (AuditState.PENDING, AuditState.ONGOING, AuditState.SUSPENDED)
"""States that an audit leaves again."""


class AuditWatch:
    """One stream of audits; see `watching.Watch`."""

    def __init__(
        self,
        deps: Deps,
        request: pb.WatchAuditsRequest,
        message: Callable[[Audit, datetime | None], pb.Audit],
        end_of: Callable[[Audit], Awaitable[datetime | None]],
    ) -> None:
        self.resume_token = request.resume_token
        self.heartbeat_s = request.heartbeat_s
        self._deps = deps
        self._request = request
        self._message = message
        self._end_of = end_of
        self._uuids: frozenset[str] = frozenset()
        self._goal_uuid = ""

    async def prepare(self) -> None:
        """Uuids of what is named; a name that is taken later is not meant."""
        named = self._request.audits
        if len(named) > MAX_NAMED:
            raise InvalidArgument(f"audits names more than {MAX_NAMED}; watch all instead.")
        async with self._deps.store.read() as session:
            if self._request.goal:
                ident = idents.parse(GOALS, self._request.goal)
                self._goal_uuid = (await session.goals.get(ident)).uuid
            found = [await session.audits.get(idents.parse(AUDITS, one)) for one in named]
        self._uuids = frozenset(one.uuid for one in found)

    async def snapshot(self) -> AsyncIterator[Sequence[Audit]]:
        """By rising id, in short transactions."""
        filters: dict[str, Any] = {}
        if self._uuids:
            filters["uuid__in"] = sorted(self._uuids)
        if self._goal_uuid:
            filters["goal_uuid"] = self._goal_uuid
        if self._request.active_only:
            filters["state__in"] = [state.value for state in ACTIVE]
        after: int | None = None
        while True:
            query = Query(filters=filters, limit=PAGE, marker_id=after)
            async with self._deps.store.read() as session:
                page = await session.audits.list(query)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].id

    def accepts(self, record: Any) -> bool:
        """Audits that are named, of the goal that is named."""
        return (
            isinstance(record, Audit)
            and (not self._uuids or record.uuid in self._uuids)
            and self._goal_uuid in ("", record.goal_uuid)
        )

    async def begin(self, reason: str) -> pb.WatchAuditsResponse:
        """Opens the snapshot."""
        return pb.WatchAuditsResponse(begin=watch_pb2.WatchBegin(reason=reason))

    async def item(self, record: Audit) -> pb.WatchAuditsResponse:
        """One audit of the snapshot."""
        return pb.WatchAuditsResponse(audit=await self._shown(record))

    async def end(self, count: int, token: str) -> pb.WatchAuditsResponse:
        """Closes the snapshot."""
        return pb.WatchAuditsResponse(resume_token=token, end=watch_pb2.WatchEnd(count=count))

    async def change(self, change: Change, token: str) -> pb.WatchAuditsResponse:
        """One change."""
        assert isinstance(change.record, Audit)  # noqa: S101, `accepts` saw to it
        return pb.WatchAuditsResponse(
            resume_token=token,
            change=pb.AuditChange(
                event_type=change.event_type,
                audit=await self._shown(change.record),
                old_state=change.old_state,
                changed_at=values.timestamp(change.changed_at),
            ),
        )

    async def moved(
        self, plan: ActionPlan, progress: Progress, token: str
    ) -> pb.WatchAuditsResponse | None:
        """Actions are none of an audit's."""
        del plan, progress, token
        return None

    async def heartbeat(self, token: str) -> pb.WatchAuditsResponse:
        """Nothing happened."""
        now = values.timestamp(self._deps.clock.now())
        return pb.WatchAuditsResponse(
            resume_token=token, heartbeat=watch_pb2.WatchHeartbeat(sent_at=now)
        )

    async def _shown(self, audit: Audit) -> pb.Audit:
        return self._message(audit, await self._end_of(audit))
