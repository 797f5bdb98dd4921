"""What each action type does, in words, for people who read a plan.

On the main path: applier syncs the texts of its plug-ins at start (A-104); api shows them (A-068).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trimtab_common.store import tables

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_T = tables.action_descriptions
_MAX_LENGTH = 255


class ActionDescriptions:
    """The descriptions within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def all(self) -> dict[str, str]:
        """action_type -> text."""
        rows = await self._session.execute(sa.select(_T.c.action_type, _T.c.description))
        return {row.action_type: row.description for row in rows}

    async def sync(self, texts: Mapping[str, str]) -> None:
        """Adds new ones and changes changed ones; types of other appliers stay."""
        known, now = await self.all(), self._session.now()
        for action_type, text in texts.items():
            short = text[:_MAX_LENGTH]
            if action_type not in known:
                await self._session.execute(
                    sa.insert(_T).values(action_type=action_type, description=short, created_at=now)
                )
            elif known[action_type] != short:
                await self._session.execute(
                    sa.update(_T)
                    .where(_T.c.action_type == action_type)
                    .values(description=short, updated_at=now)
                )
