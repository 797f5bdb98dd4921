"""Run as a process of its own: claims every PENDING audit it can, prints the uuids it got."""

import asyncio
import sys

from trimtab_common.domain.errors import Conflict
from trimtab_common.domain.lifecycle import Actor, AuditState
from trimtab_common.store import Query, open_store


async def main(url: str, name: str) -> None:
    store = await open_store(url)

    async def claim(uuid: str) -> None:
        async def work(session):
            await session.audits.transition(
                uuid,
                to=AuditState.ONGOING,
                actor=Actor.DECISION,
                source=AuditState.PENDING,
                hostname=name,
            )
            return await session.leases.acquire("audit", uuid, name, 60)

        try:
            lease = await store.transact(work)
        except Conflict:
            return
        sys.stdout.write(f"{uuid} {lease.fence}\n")

    sys.stdin.readline()
    while True:
        async with store.read() as session:
            pending = await session.audits.list(Query(filters={"state": AuditState.PENDING}))
        if not pending:
            break
        await asyncio.gather(*(claim(audit.uuid) for audit in pending))
    await store.close()


asyncio.run(main(*sys.argv[1:]))
