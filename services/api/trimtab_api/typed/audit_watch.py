"""WatchAudits: which audits a caller follows, and the messages that say what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from google.protobuf.json_format import ParseDict

from trimtab.audit.v1 import audit_pb2 as pb
from trimtab_api.changes import Change
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.record_watch import RecordWatch
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import Audit
from trimtab_common.domain.resources import AUDITS, GOALS


class AuditWatch(RecordWatch[Audit, pb.WatchAuditsResponse]):
    """One stream of audits, all or those of a goal."""

    resource = AUDITS
    parent = GOALS
    parent_key = "goal_uuid"
    active = (AuditState.PENDING, AuditState.ONGOING, AuditState.SUSPENDED)
    response = pb.WatchAuditsResponse

    def __init__(
        self,
        deps: Deps,
        request: pb.WatchAuditsRequest,
        message: Callable[[Audit, datetime | None], pb.Audit],
        end_of: Callable[[Audit], Awaitable[datetime | None]],
    ) -> None:
        super().__init__(deps, request, named=request.audits, parent=request.goal)
        self._message = message
        self._end_of = end_of

    async def item(self, record: Audit) -> pb.WatchAuditsResponse:
        """One audit of the snapshot."""
        return pb.WatchAuditsResponse(audit=await self._shown(record))

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
                search=None if change.search is None else _search(change.search),
            ),
        )

    async def _shown(self, audit: Audit) -> pb.Audit:
        return self._message(audit, await self._end_of(audit))


def _search(told: Mapping[str, Any]) -> pb.SearchProgress:
    """Without what a newer decision may tell besides."""
    return ParseDict(dict(told), pb.SearchProgress(), ignore_unknown_fields=True)
