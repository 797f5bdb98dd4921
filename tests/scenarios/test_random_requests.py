"""Thousands of random requests after our own OpenAPI document, by schemathesis with all checks on.

`make fuzz-api` sends 20,000 and more; here are as many as fit in a minute. TRIMTAB_FUZZ_CASES says
how many at least, TRIMTAB_FUZZ_SEED begins elsewhere.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from trimtab_api import asgi, openapi

CASES = int(os.environ.get("TRIMTAB_FUZZ_CASES", "1500"))
SEED = int(os.environ.get("TRIMTAB_FUZZ_SEED", "1"))
IS_LONG = "TRIMTAB_FUZZ_CASES" in os.environ
CONFIG = Path(__file__).parent / "schemathesis.toml"
PER_OPERATION = 60 if IS_LONG else 3
AT_ONCE = 3 if IS_LONG else 1
"""One server keeps up with three of them: making up requests costs more than answering them."""
PHASES = "examples,coverage,fuzzing,stateful" if IS_LONG else "coverage,fuzzing"
RUN_LIMIT_S = 3000
GIVEN = {
    "audits": [
        {"name": "done", "state": "SUCCEEDED"},
        {"name": "waiting"},
        {"name": "hourly", "audit_type": "CONTINUOUS", "interval": "3600", "state": "ONGOING"},
        {"name": "event", "audit_type": "EVENT"},
    ],
    "plans": [
        {"name": "p", "audit": "done", "actions": ["PENDING", "SKIPPED"]},
        {"name": "ended", "audit": "done", "state": "SUCCEEDED", "actions": ["SUCCEEDED"]},
    ],
}


class Server(uvicorn.Server):
    def install_signal_handlers(self):
        """pytest has its own."""


@asynccontextmanager
async def serving(world):
    app = asgi.create_app(
        world.api,
        max_body_bytes=world.deps.settings.max_body_bytes,
        trust_forwarded_headers=False,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
    server = Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


async def run_schemathesis(url: str, document: Path, seed: int) -> tuple[int, str]:
    folder = document.parent / str(seed)
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).parent / "schemathesis",
        *("--config-file", CONFIG, "run", document, "--url", url, "--checks", "all"),
        *("--max-examples", str(PER_OPERATION), "--phases", PHASES, "--seed", str(seed)),
        *("--workers", "1", "--no-color", "--continue-on-failure", "--warnings", "off"),
        *("--generation-database", "none", "--request-timeout", "20"),
        *("--suppress-health-check", "all"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RUN_LIMIT_S):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    return process.returncode or 0, output.decode(errors="replace")


def generated(output: str) -> int:
    found = re.search(r"([\d,]+) generated", output)
    assert found, output[-3000:]
    return int(found.group(1).replace(",", ""))


@pytest.mark.slow
@pytest.mark.timeout(RUN_LIMIT_S + 60)
@pytest.mark.req("A-006", "A-014", "A-016", "A-028", "A-044", "A-150")
async def test_no_random_request_breaks_the_document(make_world, tmp_path, capsys):
    document = tmp_path / "openapi.json"
    document.write_bytes(openapi.body())
    sent, seed = 0, SEED
    async with (
        make_world(GIVEN, auth="keystone", max_limit=10) as world,
        serving(world) as url,
    ):
        world.deps.strategy_states.knows_all = True  # one that is silent answers 503, as it must
        while sent < CASES:
            seeds = range(seed, seed + AT_ONCE)
            for code, output in await asyncio.gather(
                *(run_schemathesis(url, document, one) for one in seeds)
            ):
                sent += generated(output)
                with capsys.disabled():
                    print(  # noqa: T201, whoever runs it for minutes wants to see how far it is
                        f"\n{generated(output)} requests, {sent} of {CASES} in all"
                    )
                assert code == 0, output[-60_000:]
            seed += AT_ONCE
