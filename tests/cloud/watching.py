"""`trimtab model watch` as a subprocess, and when each server and host was seen in which state."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from real_cloud import eventually

Row = dict[str, Any]
GONE: Row = {}


class Watcher:
    """What the command printed so far: for each element the moments and the rows."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._changed = threading.Condition()
        self.begun = 0
        self.causes: set[str] = set()
        self.seen: dict[str, list[tuple[float, Row]]] = {}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def since(
        self, key: str, began: float, test: Callable[[Row], bool], limit_s: float = 30.0
    ) -> float:
        """When a row of this element (a server's uuid, a host's name) first passed after `began`."""

        def ask() -> float | None:
            with self._changed:
                rows = list(self.seen.get(key, ()))
            return next((at for at, row in rows if at >= began and test(row)), None)

        return eventually(ask, f"the watcher tells of {key}", limit_s, every_s=0.02)

    def end(self) -> None:
        self._process.terminate()
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at, message = time.monotonic(), json.loads(line)
            with self._changed:
                self.begun += "begin" in message
                for delta in message.get("deltas", {}).get("deltas", []):
                    self.causes.add(delta.get("cause", ""))
                    for change in delta.get("changes", []):
                        for key, row in _rows(change):
                            self.seen.setdefault(key, []).append((at, row))


def _rows(change: dict[str, Any]) -> Iterator[tuple[str, Row]]:
    if "upsert_server" in change:
        yield change["upsert_server"]["uuid"], change["upsert_server"]
    if "upsert_host" in change:
        yield change["upsert_host"]["hostname"], change["upsert_host"]
    for removal in ("remove_server", "remove_host"):
        if removal in change:
            yield change[removal], GONE


@contextmanager
def watching(command: Sequence[str]) -> Iterator[Watcher]:
    """Runs `trimtab ... model watch -o json` from its first snapshot on."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watcher = Watcher(process)
        try:
            eventually(lambda: watcher.begun, "the model is watched", 60)
            yield watcher
        finally:
            watcher.end()
