"""One store per kind of database; each test finds it empty but for a goal and a strategy."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from trimtab_common.domain.lifecycle import AuditType
from trimtab_common.domain.records import (
    Action,
    ActionPlan,
    Audit,
    EfficacyIndicator,
    Goal,
    Strategy,
)
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.store import Store, migrate, open_store, tables

KINDS = ("sqlite", "postgresql", "mariadb")
SQLITE = "sqlite+aiosqlite:///"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Says which server a test wants, so that the summary counts it."""
    servers = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("database_url")
        if kind in servers and servers[kind] not in item.fixturenames:
            item.fixturenames.append(servers[kind])


@dataclasses.dataclass
class World:
    """Builders with good defaults on one store."""

    store: Store
    clock: FakeClock
    goal: Goal
    strategy: Strategy

    async def audit(self, **changes: Any) -> Audit:
        values: dict[str, Any] = {
            "uuid": str(uuid4()),
            "name": f"audit-{uuid4()}",
            "audit_type": AuditType.ONESHOT,
            "goal_id": self.goal.id,
            "strategy_id": self.strategy.id,
        }
        async with self.store.write() as session:
            return await session.audits.create(Audit(**{**values, **changes}))

    def plan_of(self, audit: Audit, **changes: Any) -> ActionPlan:
        indicator = EfficacyIndicator(name="moved", description="Moved", unit="%", value=12.5)
        values: dict[str, Any] = {
            "uuid": str(uuid4()),
            "audit_id": audit.id,
            "strategy_id": self.strategy.id,
            "efficacy_indicators": (indicator,),
        }
        return ActionPlan(**{**values, **changes})

    def actions(self, number: int) -> list[Action]:
        made: list[Action] = []
        for _ in range(number):
            action = Action(
                uuid=str(uuid4()),
                action_plan_id=0,
                action_type="nop",
                input_parameters={"message": "hé"},
                parents=(made[-1].uuid,) if made else (),
                facts={"host": "a"},
                reason="because",
            )
            made.append(action)
        return made

    async def plan(self, number: int = 3, **options: Any) -> ActionPlan:
        audit = await self.audit()
        return await self.store.publish_plan(self.plan_of(audit), self.actions(number), **options)

    async def events(self) -> list[tuple[str, str]]:
        async with self.store.read() as session:
            return [(e.event_type, e.object_uuid) for e in await session.outbox.unpublished(10_000)]

    async def forget_events(self) -> None:
        async with self.store.write() as session:
            ids = [entry.id for entry in await session.outbox.unpublished(10_000)]
            await session.outbox.mark_published(ids)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy, because migrating takes a second."""
    path = tmp_path_factory.mktemp("store") / "template.db"
    with ThreadPoolExecutor(1) as executor:  # a session fixture has no event loop of its own
        executor.submit(lambda: asyncio.run(migrate.upgrade(f"{SQLITE}{path}"))).result()
    return path


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, migrated or not."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    if request.param == "mariadb":
        return str(request.getfixturevalue("mariadb_url"))
    return f"{SQLITE}{tmp_path}/trimtab.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def migrated() -> set[str]:
    """The servers' databases that are migrated already, which one asks them a hundred times else."""
    return set()


@pytest.fixture
async def store(
    database_url: str, migrated_sqlite: Path, migrated: set[str], clock: FakeClock
) -> AsyncIterator[Store]:
    if database_url.startswith(SQLITE):
        shutil.copy(migrated_sqlite, database_url.removeprefix(SQLITE))
    elif database_url not in migrated:
        await migrate.upgrade(database_url)
        migrated.add(database_url)
    opened = await open_store(database_url, host="node-1", now=clock.now)
    try:
        if opened.dialect != "sqlite":
            async with opened.write() as session:
                for table in reversed(tables.metadata.sorted_tables):
                    await session.execute(sa.delete(table))
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def world(store: Store, clock: FakeClock) -> World:
    async with store.write() as session:
        goal = await session.goals.create(
            Goal(uuid=str(uuid4()), name="dummy", display_name="Dummy goal")
        )
        strategy = await session.strategies.create(
            Strategy(
                uuid=str(uuid4()),
                name="dummy",
                display_name="Dummy strategy",
                goal_id=goal.id,
                parameters_spec={"properties": {"para1": {"type": "number"}}},
            )
        )
    return World(store, clock, goal, strategy)
