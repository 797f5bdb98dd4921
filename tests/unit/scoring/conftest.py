from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import CommonSettings
from trimtab_scoring.main import build


@pytest.fixture
async def scoring_address() -> AsyncIterator[str]:
    settings = CommonSettings(host="test", scoring="127.0.0.1:0", metrics_offset=0)
    service = await build(settings)
    await service.start()
    yield f"127.0.0.1:{service.bound_port}"
    await service.stop(grace_s=0)


@pytest.fixture
async def channel(scoring_address):
    async with open_channel(scoring_address) as opened:
        yield opened
