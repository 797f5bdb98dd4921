from __future__ import annotations

import pytest
import sqlalchemy as sa

from trimtab_common.store import Store, StoreUnreachable, engine
from trimtab_common.store.session import StoreOptions


@pytest.mark.parametrize(
    ("server", "sleep"), [("postgres_url", "pg_sleep(20)"), ("mariadb_url", "sleep(20)")]
)
@pytest.mark.timeout(10)
async def test_a_statement_that_is_never_answered_ends_as_unreachable(request, server, sleep):
    url = engine.parse_url(request.getfixturevalue(server))
    slow = Store(engine.make_engine(url, statement_timeout_s=0.3), StoreOptions())
    try:
        with pytest.raises(StoreUnreachable):
            async with slow.read() as session:
                await session.execute(sa.text(f"SELECT {sleep}"))
        async with slow.read() as session:  # and the next one gets a connection that works
            assert (await session.execute(sa.text("SELECT 1"))).scalar() == 1
    finally:
        await slow.close()
