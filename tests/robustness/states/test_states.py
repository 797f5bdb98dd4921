"""State machines under eight writers: every history is one that the requirements allow.

`make test` runs a small size. The large one, by hand:
TRIMTAB_STATES=10000 .venv/bin/python -m pytest tests/robustness/states -s
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter

import pytest
from api_writer import BUSY, Tally
from recorder import LEGAL, TABLES, announced, histories, illegal, reached, record
from writers import run_all, sync

from trimtab_common.store import migrate, open_store

WANTED = int(os.environ.get("TRIMTAB_STATES", "300"))
SEED = int(os.environ.get("TRIMTAB_STATES_SEED", "1"))
LIMIT_S = float(os.environ.get("TRIMTAB_STATES_LIMIT_S", 60 + WANTED / 4))
FULL = 5_000
"""From so many requests on every legal transition must have been seen."""

pytestmark = pytest.mark.timeout(120 + LIMIT_S)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/states.db"
    return request.getfixturevalue(
        "postgres_url" if request.param == "postgresql" else "mariadb_url"
    )


@pytest.mark.req("A-058", "A-063")
async def test_eight_writers_make_no_illegal_history(url, capsys):
    await migrate.upgrade(url)
    store = await open_store(url)
    try:
        await sync(store, 0)
        await record(store)
        tally, began = Tally(WANTED), time.monotonic()
        await asyncio.to_thread(run_all, url, tally, SEED, LIMIT_S)
        took_s = time.monotonic() - began
        found, told = await histories(store), await announced(store)
    finally:
        await store.close()
    wrong, seen = illegal(found), reached(found)
    missing = {kind: sorted(LEGAL[kind] - seen[kind]) for kind in TABLES}
    moves = sum(1 for steps in found.values() for old, _ in steps if old)
    contested = Counter(len(steps) for steps in found.values())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{store.dialect}: {sum(tally.sent.values())} requests of 3 clients in {took_s:.0f} s, "
            f"{moves} transitions by 8 writers in {len(found)} histories, "
            f"answers {dict(sorted(tally.statuses.items()))}\n"
            f"  illegal {len(wrong)}; untold {len(differences(found, told))}; "
            f"legal transitions seen {sum(map(len, seen.values()))} of "
            f"{sum(map(len, LEGAL.values()))}, missing {missing}\n"
        )
    assert not differences(found, told), differences(found, told)[:5]
    assert not tally.broken, tally.broken[:5]
    assert not wrong, wrong[:10]
    assert not differences(found, told), differences(found, told)[:5]
    assert tally.statuses[BUSY] <= WANTED / 100, tally.statuses
    assert contested.total()
    assert moves > WANTED / 10
    if WANTED >= FULL:
        assert not any(missing.values()), missing


def differences(found, told) -> list[str]:
    """Objects of which the notifications say other than the database.

    A plan that was being stored, or removed again, when the writers stopped was never visible: its
    notifications go first, its row goes last.
    """
    wrong = []
    for key, steps in found.items():
        is_unpublished = len(steps) == 1 and key not in told and key[0] != "audit"
        if told.get(key) != steps and not is_unpublished:
            wrong.append(f"{key}: {steps} but told {told.get(key)}")
    return wrong
