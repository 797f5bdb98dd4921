from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from trimtab_common.store import engine as engines
from trimtab_common.store import migrate, open_store, tables


async def inspected(url, look):
    engine = engines.make_engine(engines.parse_url(url))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(look)
    finally:
        await engine.dispose()


def differences(connection):
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return compare_metadata(context, tables.metadata)


def table_names(connection):
    return set(sa.inspect(connection).get_table_names()) - {"alembic_version"}


@pytest.mark.req("A-130")
async def test_the_migrations_make_exactly_the_tables_and_take_them_away_again(database_url):
    await migrate.upgrade(database_url)
    assert await migrate.current(database_url) == migrate.head()
    assert await inspected(database_url, differences) == []
    assert await inspected(database_url, table_names) == set(tables.metadata.tables)
    await migrate.upgrade(database_url)
    await migrate.downgrade(database_url, revision="base")
    assert await inspected(database_url, table_names) == set()
    assert await migrate.current(database_url) is None
    await migrate.upgrade(database_url)


async def test_several_that_migrate_at_once_leave_one_schema(database_url):
    await migrate.upgrade(database_url)
    await migrate.downgrade(database_url, revision="base")
    await asyncio.gather(*(migrate.upgrade(database_url) for _ in range(3)))
    assert await inspected(database_url, differences) == []


async def test_sqlite_is_opened_safe_against_power_loss(tmp_path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/s.db", migrate=True)
    try:
        async with store.read() as session:
            found = {
                name: (await session.execute(sa.text(f"PRAGMA {name}"))).scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            }
    finally:
        await store.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
