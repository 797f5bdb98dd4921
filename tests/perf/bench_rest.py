"""How many SQL statements a request costs: the REST core in process, on a record of its own."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from bench_model import Figure

from trimtab_api.auth import DefaultPolicy, NoAuth
from trimtab_api.ports import Deps
from trimtab_api.rest import RestApi
from trimtab_api.rest.request import RestRequest
from trimtab_api.settings import ApiSettings
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.records import Audit, Goal, Strategy
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import migrate, open_store

_IGNORED = ("BEGIN", "COMMIT", "ROLLBACK", "PRAGMA")


class _Nobody:
    """Stands for the other services; no GET of these asks them."""

    def wake_audit(self, uuid: str) -> None:
        """Nobody to wake."""

    def check_scope(self, uuid: str) -> None:
        """Nobody to ask."""

    def wake_plan(self, uuid: str) -> None:
        """Nobody to wake."""


async def _count(rows):
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/t.db"
        await migrate.upgrade(url)
        store = await open_store(url)
        try:
            audit = await _fill(store)
            nobody = _Nobody()
            deps = Deps(
                store=store,
                clock=SystemClock(),
                new_uuid=lambda: str(uuid.uuid4()),
                waker=nobody,
                strategy_states=nobody,
                rollbacks=nobody,
                models=nobody,
                settings=ApiSettings(),
            )
            api = RestApi(deps, authenticator=NoAuth(), policy=DefaultPolicy())
            seen: list[str] = []
            sa.event.listen(
                store._engine.sync_engine,
                "before_cursor_execute",
                lambda _c, _cur, statement, *_: seen.append(statement),
            )
            most, where = 0, ""
            for row in rows:
                if row["method"] != "GET":
                    continue
                request = RestRequest(
                    method="GET",
                    raw_path=row["path"].format(audit=audit),
                    headers={"openstack-api-version": "infra-optim latest"},
                    body=b"",
                    origin="http://x",
                )
                for _ in range(2):
                    seen.clear()
                    answer = await api.handle(request)
                    assert answer.status == 200, answer
                counted = [s for s in seen if not s.startswith(_IGNORED)]
                if len(counted) >= most:
                    most, where = len(counted), row["key"]
            return most, where
        finally:
            await store.close()


async def _fill(store):
    async with store.write() as session:
        goal = await session.goals.create(Goal(uuid=_id(1), name="g", display_name="G"))
        strategy = await session.strategies.create(
            Strategy(uuid=_id(2), name="s", display_name="S", goal_id=goal.id)
        )
        for number in range(300):
            await session.audits.create(
                Audit(
                    uuid=_id(10 + number),
                    name=f"a{number}",
                    audit_type=AuditType.ONESHOT,
                    state=AuditState.CANCELLED,
                    goal_id=goal.id,
                    strategy_id=strategy.id,
                    created_at=datetime.now(UTC),
                )
            )
    return _id(10)


def _id(number):
    return f"00000000-0000-4000-8000-{number:012d}"


def statement_figures(rows):
    """The most that any of the GETs sends."""
    most, where = asyncio.run(_count(rows))
    yield Figure("sql_statements", most, where)
