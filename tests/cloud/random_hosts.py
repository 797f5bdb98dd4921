"""What operators do to hosts: close and open them, force them down, kill one, sort them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from random_acts import Act
from real_cloud import OURS, VERSION, RealCloud

CLOSED_FOR = 3
"""So many rounds later a host that was disabled or forced down is opened again."""
MOST_CLOSED, MOST_AGGREGATES = 2, 3
KILLED_EVERY = 20
Answer = Callable[[], Any]


class HostActs:
    """Acts on hosts and aggregates, at most one of each a round.

    kill_compute: ends and starts again a host's nova-compute, every so many rounds.
    """

    def __init__(
        self,
        cloud: RealCloud,
        chance: random.Random,
        seed: int,
        kill_compute: Callable[[str], None] | None,
    ) -> None:
        self._cloud = cloud
        self._random = chance
        self._prefix = f"{OURS}aggregate-{seed}-"
        self._kill_compute = kill_compute
        self._closed: list[tuple[str, int]] = []
        self._round = 0
        self._number = 0

    def choose(self) -> list[Act]:
        """The next acts."""
        self._round += 1
        acts = []
        if self._kill_compute is not None and self._round % KILLED_EVERY == 0:
            acts.append(self._kill(self._kill_compute))
        elif self._closed and self._round - self._closed[0][1] >= CLOSED_FOR:
            acts.append(self._open(self._closed.pop(0)[0]))
        elif self._random.random() < 0.6 and (act := self._close()) is not None:
            acts.append(act)
        if self._random.random() < 0.4:
            acts.append(self._sort())
        return acts

    def open_all(self) -> None:
        """Every host as it was, and no aggregates of ours."""
        self._closed.clear()
        self._cloud.enable_all()
        for row in self._ours():
            for host in row["hosts"]:
                self._post(f"/{row['id']}/action", {"remove_host": {"host": host}})
            self._cloud.compute.delete(f"/os-aggregates/{row['id']}", microversion=VERSION)

    def _close(self) -> Act | None:
        host = self._random.choice(sorted(self._cloud.services()))
        if len(self._closed) >= MOST_CLOSED or host in {closed for closed, _ in self._closed}:
            return None
        self._closed.append((host, self._round))
        if self._random.random() < 0.5:
            return Act("disable", self._change(host, status="disabled", disabled_reason="tt"))
        return Act("force-down", self._change(host, forced_down=True))

    def _kill(self, kill: Callable[[str], None]) -> Act:
        host = self._random.choice(sorted(self._cloud.services()))
        return Act("compute killed", lambda: kill(host))

    def _open(self, host: str) -> Act:
        def ask() -> None:
            self._cloud.change_service(host, forced_down=False)
            self._cloud.change_service(host, status="enabled")

        return Act("open again", ask)

    def _change(self, host: str, **change: Any) -> Answer:
        return lambda: self._cloud.change_service(host, **change)

    def _sort(self) -> Act:
        ours = self._ours()
        if not ours or (len(ours) < MOST_AGGREGATES and self._random.random() < 0.3):
            self._number += 1
            body = {"aggregate": {"name": f"{self._prefix}{self._number}"}}
            return Act("aggregate made", lambda: self._post("", body))
        row = self._random.choice(ours)
        path = f"/{row['id']}"
        kind = self._random.random()
        outside = sorted(set(self._cloud.services()) - set(row["hosts"]))
        if kind < 0.4 and outside:
            body = {"add_host": {"host": self._random.choice(outside)}}
            return Act("host into an aggregate", lambda: self._post(f"{path}/action", body))
        if kind < 0.6:
            body = {"set_metadata": {"metadata": {"ssd": f"{self._random.random():.2f}"}}}
            return Act("aggregate's metadata", lambda: self._post(f"{path}/action", body))
        if row["hosts"]:
            body = {"remove_host": {"host": self._random.choice(row["hosts"])}}
            return Act("host out of an aggregate", lambda: self._post(f"{path}/action", body))
        gone = f"/os-aggregates{path}"
        return Act(
            "aggregate deleted", lambda: self._cloud.compute.delete(gone, microversion=VERSION)
        )

    def _ours(self) -> list[dict[str, Any]]:
        rows = self._cloud.get("/os-aggregates")["aggregates"]
        return [row for row in rows if row["name"].startswith(self._prefix)]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._cloud.compute.post(f"/os-aggregates{path}", json=body, microversion=VERSION)
