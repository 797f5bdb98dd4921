"""What WatchAudits and WatchActionPlans share: whom a caller follows, and the frame of a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from trimtab.common.v1 import watch_pb2
from trimtab_api import idents
from trimtab_api.changes import Change, Progress
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.watching import MAX_NAMED
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.lifecycle import AuditState, PlanState
from trimtab_common.domain.records import ActionPlan
from trimtab_common.domain.resources import Resource
from trimtab_common.store import Query, Session

PAGE = 500
_R = TypeVar("_R")
"""The record."""
_M = TypeVar("_M")
"""The message of the stream."""


class RecordWatch(ABC, Generic[_R, _M]):
    """One stream of one resource's records; see `watching.Watch`.

    `parent` is the resource to which a record belongs by its field `parent_key`: those of one
    parent may be asked for, as those that are named.
    """

    resource: ClassVar[Resource]
    parent: ClassVar[Resource]
    parent_key: ClassVar[str]
    active: ClassVar[Sequence[AuditState | PlanState]]
    """States that a record leaves again."""
    response: ClassVar[Any]
    """The message of the stream, _M."""

    def __init__(self, deps: Deps, request: Any, *, named: Sequence[str], parent: str) -> None:
        self.resume_token: str = request.resume_token
        self.heartbeat_s: int = request.heartbeat_s
        self._deps = deps
        self._named = named
        self._parent = parent
        self._active_only: bool = request.active_only
        self._uuids: frozenset[str] = frozenset()
        self._parent_uuid = ""

    async def prepare(self) -> None:
        """Uuids of what is named; a name that is taken later is not meant."""
        if len(self._named) > MAX_NAMED:
            raise InvalidArgument(
                f"{self.resource.plural} names more than {MAX_NAMED}; watch all instead."
            )
        async with self._deps.store.read() as session:
            if self._parent:
                ident = idents.parse(self.parent, self._parent)
                self._parent_uuid = (await session.table(self.parent).get(ident)).uuid
            records = session.table(self.resource)
            found = [await records.get(idents.parse(self.resource, one)) for one in self._named]
        self._uuids = frozenset(one.uuid for one in found)

    async def snapshot(self) -> AsyncIterator[Sequence[_R]]:
        """By rising id, in short transactions."""
        filters: dict[str, Any] = {}
        if self._uuids:
            filters["uuid__in"] = sorted(self._uuids)
        if self._parent_uuid:
            filters[self.parent_key] = self._parent_uuid
        if self._active_only:
            filters["state__in"] = [state.value for state in self.active]
        after: int | None = None
        while True:
            query = Query(filters=filters, limit=PAGE, marker_id=after)
            async with self._deps.store.read() as session:
                page = await session.table(self.resource).list(query)
                await self.look_up(session, page)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def look_up(self, session: Session, page: Sequence[_R]) -> None:
        """Reads what else the messages of this page tell."""

    def accepts(self, record: Any) -> bool:
        """Records that are named, of the parent that is named."""
        record_type: Any = self.resource.record
        return (
            isinstance(record, record_type)
            and (not self._uuids or record.uuid in self._uuids)
            and self._parent_uuid in ("", getattr(record, self.parent_key))
        )

    async def begin(self, reason: str) -> _M:
        """Opens the snapshot."""
        return self._answer(begin=watch_pb2.WatchBegin(reason=reason))

    @abstractmethod
    async def item(self, record: _R) -> _M:
        """One record of the snapshot."""

    async def end(self, count: int, token: str) -> _M:
        """Closes the snapshot."""
        return self._answer(resume_token=token, end=watch_pb2.WatchEnd(count=count))

    @abstractmethod
    async def change(self, change: Change, token: str) -> _M:
        """One change."""

    async def moved(self, plan: ActionPlan, progress: Progress, token: str) -> _M | None:
        """Some actions of a plan moved on; None where that does not matter."""
        del plan, progress, token
        return None

    async def heartbeat(self, token: str) -> _M:
        """Nothing happened."""
        now = values.timestamp(self._deps.clock.now())
        return self._answer(resume_token=token, heartbeat=watch_pb2.WatchHeartbeat(sent_at=now))

    def _answer(self, **fields: Any) -> _M:
        message: _M = self.response(**fields)
        return message
