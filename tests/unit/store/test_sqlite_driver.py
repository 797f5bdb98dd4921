"""SQLite's driver: what SQLAlchemy needs of a cursor, in one trip to the thread a statement."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from trimtab_common.store import engine as engines

ROWS = sa.Table(
    "rows",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, unique=True),
)


class Counting:
    """A connection's queue that counts what is sent to the thread."""

    def __init__(self, queue):
        self._queue, self.trips = queue, 0

    def put_nowait(self, item):
        self.trips += 1
        self._queue.put_nowait(item)


@pytest.fixture
async def engine(tmp_path: Path):
    made = engines.make_engine(engines.parse_url(f"sqlite+aiosqlite:///{tmp_path}/t.db"))
    async with made.begin() as connection:
        await connection.run_sync(ROWS.metadata.create_all)
    yield made
    await made.dispose()


async def test_each_statement_and_each_end_of_a_transaction_is_one_trip(engine):
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        raw._tx = counting = Counting(raw._tx)
        statements = (
            sa.insert(ROWS).values(name="a"),
            sa.select(ROWS),
            sa.update(ROWS).values(name="b"),
        )
        trips = []
        for statement in statements:
            before = counting.trips
            await connection.execute(statement)
            trips.append(counting.trips - before)
        before = counting.trips
        await connection.commit()
        assert counting.trips - before == 1
        before = counting.trips
        raw_tx = counting._queue
    assert trips == [2, 1, 1]  # the first one begins the transaction
    assert counting.trips == before, "nothing to undo after a commit, so no trip"
    raw._tx = raw_tx


async def test_rows_keys_and_counts_come_back(engine):
    async with engine.begin() as connection:
        one = await connection.execute(sa.insert(ROWS), {"name": "a"})
        assert one.inserted_primary_key == (1,)
        await connection.execute(sa.insert(ROWS), [{"name": "b"}, {"name": "c"}])
        changed = await connection.execute(sa.update(ROWS).where(ROWS.c.id > 1).values(name=None))
        assert changed.rowcount == 2
        found = (await connection.execute(sa.select(ROWS).order_by(ROWS.c.id))).all()
        assert found == [(1, "a"), (2, None), (3, None)]
        assert (await connection.execute(sa.select(ROWS).where(ROWS.c.id > 9))).all() == []


async def test_what_is_not_committed_is_undone_and_the_error_says_why(engine):
    async with engine.connect() as connection:
        await connection.execute(sa.insert(ROWS), {"name": "a"})
        with pytest.raises(sa_exc.IntegrityError, match="UNIQUE"):
            await connection.execute(sa.insert(ROWS), {"name": "a"})
    async with engine.connect() as connection:
        assert (await connection.execute(sa.select(ROWS))).all() == []


async def test_a_connection_that_is_stopped_while_it_closes_ends(engine):
    async with engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        closing = asyncio.create_task(raw.close())
        await asyncio.sleep(0)  # what closes it waits for the thread
        raw.stop()  # as SQLAlchemy does when the task that closes is cancelled
        await asyncio.wait_for(closing, 5)
        raw._thread.join(5)
        assert not raw._thread.is_alive()
