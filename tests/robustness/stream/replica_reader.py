"""A replica as decision keeps it, in a process of its own, so that its memory is its own too.

SIGTERM: write the memory down and end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from stage import memory_mib

from trimtab_common.runtime.channels import open_channel
from trimtab_common.wire.replica import ModelReplica

LOOK_S = 0.1


async def main(address: str, path: Path) -> None:
    channel = open_channel(address)
    replica = ModelReplica(channel, heartbeat_s=1)
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    following = asyncio.create_task(replica.run())
    least, largest = 0.0, 0.0
    while not end.is_set():
        if replica.ready:
            now = memory_mib(os.getpid())
            least, largest = least or now, max(largest, now)
            path.with_suffix(".digest").write_text(replica.model.digest())
        try:
            async with asyncio.timeout(LOOK_S):
                await end.wait()
        except TimeoutError:
            pass
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await channel.close()
    path.with_suffix(".new").write_text(json.dumps([least, largest]))
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
