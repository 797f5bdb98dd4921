from __future__ import annotations

import asyncio
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("claiming_process.py")
PROCESSES = 2
AUDITS = 24


async def test_processes_on_one_database_claim_every_audit_exactly_once(world, database_url):
    uuids = {(await world.audit()).uuid for _ in range(AUDITS)}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(SCRIPT),
            database_url,
            f"process-{number}",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [errors.decode() for _, errors in answers] == [""] * PROCESSES
    claimed = [line.split() for output, _ in answers for line in output.decode().splitlines()]
    assert sorted(uuid for uuid, _ in claimed) == sorted(uuids)
    assert {fence for _, fence in claimed} == {"1"}
    events = [event for event, _ in await world.events()]
    assert events.count("audit.update") == AUDITS
