"""Random operations on servers of ours and on hosts, as a busy cloud's users and operators do them.

They overlap: an operation is asked for, not waited for. The same seed asks for the same kinds, as far
as the cloud's own pace allows. Hosts that were closed are opened again a few operations later.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from real_cloud import OURS, VERSION, RealCloud, Server

FEWEST, MOST = 4, 8
PACE_S = 0.3
CLOSED_FOR = 4
"""So many operations later a host that was disabled or forced down is opened again."""
STUCK_AFTER_S = 60.0
ASKED_AGAIN_AFTER_S = 30.0
SLOW = {"devcloud_live_migration_seconds": "20"}


@dataclass
class RandomOperations:
    """`run` does so many; `done` counts them by kind, `refused` what Nova would not do (409, 400).

    kill_compute: ends and starts again a host's nova-compute, now and then. between: what is to be
    done once so many operations were done. `patient` when the cloud itself was hurt: what it could
    not do is counted as failed.
    """

    cloud: RealCloud
    seed: int
    kill_compute: Callable[[str], None] | None = None
    between: Mapping[int, Callable[[], None]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    patient: bool = False

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._closed: list[tuple[str, int]] = []
        self._number = 0
        self._busy: dict[str, float] = {}
        self.rescued = 0

    def run(self, count: int, *, limit_s: float) -> None:
        """Does `count` operations that Nova accepted; AssertionError past the limit."""
        end = time.monotonic() + limit_s
        waiting = dict(self.between)
        while self.done.total() < count:
            assert time.monotonic() < end, f"{self.done.total()} of {count} operations: {self.done}"
            for at in [n for n in waiting if n <= self.done.total()]:
                waiting.pop(at)()
            try:
                self._one()
            except AssertionError as refusal:
                if not self.patient:
                    raise
                self.failed[str(refusal)[:40]] += 1
            time.sleep(PACE_S)
        self._closed.clear()
        self.cloud.enable_all()

    def confirm_all(self) -> None:
        """Ends the moves that wait for their user: until then they hold room on two hosts."""
        for server in self.cloud.servers().values():
            if self._is_ours(server) and server.status == "VERIFY_RESIZE":
                self.cloud.act(server.uuid, confirmResize=None)
        self.cloud.settle()

    def settle(self, limit_s: float = 180.0) -> None:
        """Returns when the cloud does nothing to any server; what it lost hold of is reset."""
        end = time.monotonic() + limit_s
        while busy := [s for s in self.cloud.servers().values() if not s.idle]:
            assert time.monotonic() < end, f"not idle within {limit_s:.0f} s: {busy}"
            self._rescue(busy)
            time.sleep(1)

    def _rescue(self, servers: Iterable[Server]) -> None:
        """Resets those that the cloud works on for longer than anything takes, as an operator would.

        A broker that dies takes calls in flight with it: what they were to do is never done.
        """
        now = time.monotonic()
        busy = {s.uuid for s in servers if self._is_ours(s) and not s.idle}
        self._busy = {uuid: self._busy.get(uuid, now) for uuid in busy}
        for uuid, since in self._busy.items():
            if self.patient and now - since > STUCK_AFTER_S:
                self.cloud.act(uuid, **{"os-resetState": {"state": "error"}})
                self.rescued += 1

    def clean(self, limit_s: float = 240.0) -> None:
        """Deletes what was made; asks again where the request was lost with a broker or a compute."""
        end, asked = time.monotonic() + limit_s, -math.inf
        while ours := [s for s in self.cloud.servers().values() if self._is_ours(s)]:
            now = time.monotonic()
            assert now < end, f"not deleted within {limit_s:.0f} s: {ours}"
            self._rescue(ours)
            if now - asked > ASKED_AGAIN_AFTER_S:
                asked = now
                self.cloud.ask_to_delete(*(server.uuid for server in ours))
            time.sleep(1)

    def _is_ours(self, server: Server) -> bool:
        return server.name.startswith(f"{OURS}random-")

    def _one(self) -> None:
        if self._closed and self.done.total() - self._closed[0][1] >= CLOSED_FOR:
            self._open(self._closed.pop(0)[0])
        ours = [s for s in self.cloud.servers().values() if self._is_ours(s)]
        self._rescue(ours)
        kind = self._random.random()
        if len(ours) < FEWEST or (len(ours) < MOST and kind < 0.15):
            self._create()
        elif kind < 0.25:
            self._close()
        else:
            self._on_server(self._random.choice(sorted(ours, key=lambda s: s.name)), len(ours))

    def _create(self) -> None:
        self._number += 1
        slow = self._random.random() < 0.3
        name = f"{OURS}random-{self.seed}-{self._number}"
        self.cloud.create(name, flavor="m1.tiny", metadata=SLOW if slow else {})
        self.done["create"] += 1

    def _close(self) -> None:
        host = self._random.choice(sorted(self.cloud.services()))
        if len(self._closed) >= 2 or host in {closed for closed, _ in self._closed}:
            return
        kind = self._random.random()
        if kind < 0.1 and self.kill_compute is not None:
            self.kill_compute(host)
            self.done["compute killed"] += 1
            return
        if kind < 0.5:
            self.cloud.change_service(host, status="disabled", disabled_reason="tt")
            self.done["disable"] += 1
        else:
            self.cloud.change_service(host, forced_down=True)
            self.done["force-down"] += 1
        self._closed.append((host, self.done.total()))

    def _open(self, host: str) -> None:
        self.cloud.change_service(host, forced_down=False)
        self.cloud.change_service(host, status="enabled")

    def _on_server(self, server: Server, count: int) -> None:
        if server.status == "ERROR":
            self._delete(server)
            return
        if server.task_state == "migrating":
            self._abort(server)
            return
        if not server.idle:
            return
        choices: dict[str, list[tuple[str, Callable[[], Any]]]] = {
            "ACTIVE": [
                *[("live migration", self._action({"os-migrateLive": _ANYWHERE}))] * 3,
                ("cold migration", self._action({"migrate": None})),
                ("resize", self._action({"resize": {"flavorRef": self.cloud.flavor("m1.small")}})),
                ("pause", self._action({"pause": None})),
                ("stop", self._action({"os-stop": None})),
                ("shelve", self._action({"shelve": None})),
                ("lock", self._action({"lock": None})),
                ("metadata", self._action({}, path="metadata")),
            ],
            "VERIFY_RESIZE": [
                ("confirm", self._action({"confirmResize": None})),
                ("revert", self._action({"revertResize": None})),
            ],
            "PAUSED": [("unpause", self._action({"unpause": None}))],
            "SHUTOFF": [("start", self._action({"os-start": None}))],
            "SHELVED_OFFLOADED": [("unshelve", self._action({"unshelve": None}))],
        }
        if count > FEWEST and self._random.random() < 0.1:
            self._delete(server)
            return
        possible = choices.get(server.status, [])
        if possible:
            name, act = self._random.choice(possible)
            self._count(name, act(server))

    def _delete(self, server: Server) -> None:
        answer = self.cloud.compute.delete(f"/servers/{server.uuid}", microversion=VERSION)
        self._count("delete", answer)

    def _abort(self, server: Server) -> None:
        path = f"/servers/{server.uuid}/migrations"
        for row in self.cloud.get(path)["migrations"]:
            if row["status"] in {"running", "queued", "preparing"}:
                answer = self.cloud.compute.delete(f"{path}/{row['id']}", microversion=VERSION)
                self._count("abort", answer)

    def _action(self, body: dict[str, Any], path: str = "action") -> Callable[[Server], Any]:
        def act(server: Server) -> Any:
            given = body or {"metadata": {"colour": f"{self._random.random():.3f}"}}
            return self.cloud.compute.post(
                f"/servers/{server.uuid}/{path}", json=given, microversion=VERSION
            )

        return act

    def _count(self, kind: str, answer: Any) -> None:
        assert answer.status_code < 500, f"{kind}: {answer.status_code} {answer.text}"
        (self.done if answer.status_code < 400 else self.refused)[kind] += 1


_ANYWHERE = {"host": None, "block_migration": "auto"}
