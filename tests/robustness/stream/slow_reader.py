"""A watcher that takes long over each message and sometimes freezes, in a process of its own.

Its memory is its own so, and so is its processor. SIGUSR1: hurry from now on. SIGTERM: write the
history and the largest memory down and end.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path

from histories import Decoder
from stage import memory_mib
from watchers import Progress, Watcher

PAUSE_S = 0.25
FREEZE_S = 3.0


async def main(address: str, path: Path) -> None:
    watcher = Watcher(path.stem, address, seed=0, decoder=Decoder(10), progress=Progress())
    watcher.pause_s = PAUSE_S
    watcher.is_lean = True
    loop = asyncio.get_running_loop()
    hurry, end = asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, hurry.set)
    loop.add_signal_handler(signal.SIGTERM, end.set)
    following = asyncio.create_task(watcher.run())
    largest, least, turns = 0.0, 0.0, 0
    while not end.is_set():
        watcher.pause_s = 0.0 if hurry.is_set() else FREEZE_S if turns % 10 == 0 else PAUSE_S
        turns += 1
        now = memory_mib(os.getpid())
        largest, least = max(largest, now), least or now
        path.with_suffix(".digest").write_text(watcher.digest)
        try:
            async with asyncio.timeout(0.5):
                await end.wait()
        except TimeoutError:
            pass
    watcher.stop()
    await following
    for link in watcher.history.links:
        for event in link.events:
            object.__setattr__(event.message, "raw", None)
    done = {"history": watcher.history, "ends": watcher.ends, "mib": (least, largest)}
    path.with_suffix(".new").write_bytes(pickle.dumps(done))
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
