"""Fixtures of the dialogues: worlds, doors, and an Envoy.

Everything that would differ from run to run is fixed: the clock stands still unless a step moves
it, uuids and request ids count up. So two doors must give the same bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rest_doors import DOORS, Door, Edge, running_edge
from rest_world import (
    START,
    FakeCollector,
    FakeDecision,
    RealRollbacks,
    RecordingWaker,
    TokenAuth,
    World,
    fill,
    small_model,
)

from trimtab_api.auth import DefaultPolicy, NoAuth
from trimtab_api.ports import Deps
from trimtab_api.rest import RestApi
from trimtab_api.settings import ApiSettings
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.store import open_store
from trimtab_decision.rollback import Rollbacks


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A migrated SQLite file, made once and copied for every world."""
    path = Path(tmp_path_factory.mktemp("store")) / "empty.db"

    async def make() -> None:
        store = await open_store(f"sqlite+aiosqlite:///{path}", migrate=True)
        await store.close()

    asyncio.run(make())
    return path


WorldFactory = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def make_world(empty_database, tmp_path) -> WorldFactory:
    """Makes a world: `given` says what is in the record, `settings` how the service is set."""
    numbers = itertools.count()

    @asynccontextmanager
    async def make(given: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[World]:
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(empty_database, path)
        clock = FakeClock(START)
        store = await open_store(f"sqlite+aiosqlite:///{path}", now=clock.now)
        ids, request_ids = itertools.count(1), itertools.count(1)
        waker, collector = RecordingWaker(), FakeCollector(model=small_model())
        deps = Deps(
            store=store,
            clock=clock,
            new_uuid=lambda: f"00000000-0000-4000-8000-{next(ids):012d}",
            waker=waker,
            strategy_states=FakeDecision(),
            rollbacks=RealRollbacks(
                Rollbacks(
                    store=store,
                    clock=clock,
                    period_s=3600,
                    new_uuid=lambda: f"11111111-0000-4000-8000-{next(ids):012d}",
                )
            ),
            models=collector,
            settings=ApiSettings(**settings),
        )
        authenticator = TokenAuth() if deps.settings.auth == "keystone" else NoAuth()
        api = RestApi(
            deps,
            authenticator=authenticator,
            policy=DefaultPolicy(),
            new_request_id=lambda: f"req-{next(request_ids):08d}",
        )
        world = World(
            api=api,
            deps=deps,
            clock=clock,
            store=store,
            waker=waker,
            collector=collector,
            authenticator=authenticator,
        )
        try:
            await fill(store, given or {})
            yield world
        finally:
            await store.close()

    return make


@pytest.fixture
async def edge(tmp_path) -> AsyncIterator[Edge]:
    async with running_edge(Path(tmp_path)) as started:
        yield started


@pytest.fixture
def all_doors() -> dict[str, Callable[[World], AbstractAsyncContextManager[Door]]]:
    return DOORS
