import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from plan_world import World


@pytest.fixture(autouse=True)
async def ended_worlds():
    yield
    for world in list(World.open_ones):
        await world.close()


@pytest.fixture
def world() -> World:
    return World()
