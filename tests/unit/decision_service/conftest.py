from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from trimtab_common.runtime.clock import FakeClock
from trimtab_common.store import open_store
from trimtab_decision.framework import Registry
from trimtab_decision.plugins import load_registry

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode finds no siblings by itself

from decision_world import World


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("migrated") / "trimtab.db"

    async def make():
        """Migrated and synced once: each test copies the file and finds nothing left to sync."""
        clock = FakeClock()
        store = await open_store(f"sqlite+aiosqlite:///{path}", migrate=True, now=clock.now)
        registry = load_registry(entry_points=False)
        await World(store=store, clock=clock, registry=registry).syncer().sync()
        await store.close()

    asyncio.run(make())
    return path


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def url(migrated, tmp_path):
    path = tmp_path / "trimtab.db"
    shutil.copyfile(migrated, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def store(url, clock):
    opened = await open_store(url, host="node-1", now=clock.now)
    yield opened
    await opened.close()


@pytest.fixture
def registry() -> Registry:
    return load_registry(entry_points=False)


@pytest.fixture
async def world(store, clock, registry):
    made = World(store=store, clock=clock, registry=registry)
    await made.syncer().sync()
    yield made
    await made.close()
