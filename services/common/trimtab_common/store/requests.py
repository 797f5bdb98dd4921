"""What creates with a request id have answered: the same request again gets the same answer again.

On the main path: a create of the typed API calls `keep` in the transaction that stores the
resource, and `find` before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from trimtab_common.domain.errors import AlreadyExists
from trimtab_common.store import tables

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_T = tables.requests
KEPT = timedelta(days=1)
_REMOVED_AT_ONCE = 50


class RequestTaken(AlreadyExists):
    """The same request id was used meanwhile: its answer is in the record now."""

    reason = "REQUEST_ID_TAKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """`digest` of the request, `answer` as its caller got it."""

    digest: str
    answer: str


class Requests:
    """The answered requests within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def find(self, caller: str, request_id: str) -> Answered | None:
        """What this caller was answered under this id in the last day."""
        statement = sa.select(_T.c.digest, _T.c.answer).where(
            _T.c.caller == caller,
            _T.c.request_id == request_id,
            _T.c.created_at > self._session.now() - KEPT,
        )
        row = (await self._session.execute(statement)).mappings().first()
        return None if row is None else Answered(**row)

    async def keep(self, caller: str, request_id: str, *, digest: str, answer: str) -> None:
        """Remembers an answer, and forgets some that are older than a day.

        RequestTaken when another transaction was first; this one must then be rolled back.
        """
        now = self._session.now()
        old = sa.select(_T.c.id).where(_T.c.created_at <= now - KEPT).limit(_REMOVED_AT_ONCE)
        keys = list((await self._session.execute(old)).scalars())
        if keys:
            await self._session.execute(sa.delete(_T).where(_T.c.id.in_(keys)))
        values = {
            "caller": caller,
            "request_id": request_id,
            "digest": digest,
            "answer": answer,
            "created_at": now,
        }
        try:
            await self._session.execute(sa.insert(_T).values(values))
        except sa_exc.IntegrityError as error:
            raise RequestTaken(f"The request {request_id} is being carried out already.") from error
