"""What users and operators do to servers, chosen at random by what state each is in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from random_acts import Act, Stuck
from real_cloud import OURS, VERSION, RealCloud, Server

FEWEST, MOST = 8, 20
STUCK_AFTER_S = 60.0
ASKED_AGAIN_AFTER_S = 30.0
SLOW = {"devcloud_live_migration_seconds": "20"}
_ANYWHERE = {"host": None, "block_migration": "auto"}


class ServerActs:
    """Acts on servers of ours, at most one on each at a time."""

    def __init__(self, cloud: RealCloud, chance: random.Random, seed: int) -> None:
        self._cloud = cloud
        self._random = chance
        self._prefix = f"{OURS}random-{seed}-"
        self._number = 0
        self._stuck = Stuck(time.monotonic, STUCK_AFTER_S)
        self._group = ""
        self.patient = False
        self.rescued = 0

    def ours(self) -> list[Server]:
        """Our servers, by name."""
        return sorted(self._cloud.named(self._prefix).values(), key=lambda s: s.name)

    def choose(self, ours: list[Server]) -> list[Act]:
        """Acts for some of them; more servers where there are few."""
        self.rescue(ours)
        acts = [act for server in ours if (act := self._on(server, len(ours))) is not None]
        wanted = 2 if len(ours) < FEWEST else 1
        if len(ours) < FEWEST or (len(ours) < MOST and self._random.random() < 0.4):
            acts += [self._create() for _ in range(wanted)]
        return acts

    def rescue(self, ours: list[Server]) -> None:
        """Resets what is stuck, as an operator would."""
        busy = {server.uuid for server in ours if not server.idle}
        for uuid in self._stuck.among(busy):
            if self.patient:
                self._cloud.act(uuid, **{"os-resetState": {"state": "error"}})
                self.rescued += 1

    def confirm_all(self) -> None:
        """Ends the moves that wait for their user: until then they hold room on two hosts."""
        for server in self.ours():
            if server.status == "VERIFY_RESIZE":
                self._cloud.act(server.uuid, confirmResize=None)

    def settle(self, limit_s: float = 180.0) -> None:
        """Returns when nothing is done to ours; what is stuck is reset."""
        end = time.monotonic() + limit_s
        while busy := [s for s in self.ours() if not s.idle]:
            assert time.monotonic() < end, f"not idle within {limit_s:.0f} s: {busy}"
            self.rescue(busy)
            time.sleep(1)

    def clean(self, limit_s: float = 240.0) -> None:
        """Deletes ours; asks again where the request was lost with a broker or a compute."""
        end, asked = time.monotonic() + limit_s, -1000.0
        while ours := self.ours():
            now = time.monotonic()
            assert now < end, f"not deleted within {limit_s:.0f} s: {ours}"
            self.rescue(ours)
            if now - asked > ASKED_AGAIN_AFTER_S:
                asked = now
                self._cloud.ask_to_delete(*(server.uuid for server in ours))
            time.sleep(1)
        self._group = ""
        found = self._cloud.compute.get("/os-server-groups", microversion=VERSION).json()
        for group in found["server_groups"]:  # side by side, two may have been made
            if group["name"] == self._prefix:
                path = f"/os-server-groups/{group['id']}"
                self._cloud.compute.delete(path, microversion=VERSION)

    def _create(self) -> Act:
        self._number += 1
        name = f"{self._prefix}{self._number}"
        slow = SLOW if self._random.random() < 0.3 else {}
        if self._random.random() < 0.3:
            return Act("create in a group", lambda: self._create_in_group(name))
        return Act(
            "create",
            lambda: self._cloud.ask_to_create(name, flavor="m1.tiny", metadata=slow),
        )

    def _create_in_group(self, name: str) -> Any:
        if not self._group:
            body = {"server_group": {"name": self._prefix, "policy": "soft-anti-affinity"}}
            answer = self._cloud.compute.post("/os-server-groups", json=body, microversion=VERSION)
            assert answer.status_code == 200, answer.text
            self._group = str(answer.json()["server_group"]["id"])
        return self._cloud.ask_to_create(name, flavor="m1.tiny", group=self._group)

    def _on(self, server: Server, count: int) -> Act | None:
        if self._random.random() < 0.3:
            return None  # left alone this time
        if server.status == "ERROR" or (
            server.idle and count > FEWEST and self._random.random() < 0.1
        ):
            return Act("delete", self._delete(server))
        if server.task_state == "migrating":
            return (
                Act("abort", lambda: self._abort(server)) if self._random.random() < 0.5 else None
            )
        if not server.idle:
            return None
        possible = self._possible().get(server.status, [])
        if not possible:
            return None
        kind, body, path = self._random.choice(possible)
        return Act(kind, self._post(server, body, path))

    def _possible(self) -> dict[str, list[tuple[str, dict[str, Any], str]]]:
        """By the status of a server: what may be done, its body, its path."""

        def plain(kind: str, action: str, given: Any = None) -> tuple[str, dict[str, Any], str]:
            return kind, {action: given}, "action"

        colour = {"metadata": {"colour": f"{self._random.random():.3f}"}}
        small = {"flavorRef": self._cloud.flavor("m1.small")}
        return {
            "ACTIVE": [
                *[plain("live migration", "os-migrateLive", _ANYWHERE)] * 3,
                *[plain("cold migration", "migrate")] * 2,
                plain("resize", "resize", small),
                plain("pause", "pause"),
                plain("suspend", "suspend"),
                plain("stop", "os-stop"),
                plain("shelve", "shelve"),
                plain("rescue", "rescue", {}),
                plain("lock", "lock"),
                plain("unlock", "unlock"),
                plain("reboot", "reboot", {"type": "HARD"}),
                ("metadata", colour, "metadata"),
            ],
            "VERIFY_RESIZE": [plain("confirm", "confirmResize"), plain("revert", "revertResize")],
            "PAUSED": [plain("unpause", "unpause")],
            "SUSPENDED": [plain("resume", "resume")],
            "SHUTOFF": [plain("start", "os-start"), plain("cold migration", "migrate")],
            "SHELVED": [plain("shelve offload", "shelveOffload"), plain("unshelve", "unshelve")],
            "SHELVED_OFFLOADED": [plain("unshelve", "unshelve")],
            "RESCUE": [plain("unrescue", "unrescue")],
        }

    def _delete(self, server: Server) -> Callable[[], Any]:
        return lambda: self._cloud.compute.delete(f"/servers/{server.uuid}", microversion=VERSION)

    def _post(self, server: Server, body: dict[str, Any], path: str) -> Callable[[], Any]:
        return lambda: self._cloud.compute.post(
            f"/servers/{server.uuid}/{path}", json=body, microversion=VERSION
        )

    def _abort(self, server: Server) -> Any:
        path = f"/servers/{server.uuid}/migrations"
        for row in self._cloud.get(path)["migrations"]:
            if row["status"] in {"running", "queued", "preparing"}:
                return self._cloud.compute.delete(f"{path}/{row['id']}", microversion=VERSION)
        raise NothingToDo


class NothingToDo(Exception):
    """By the time of the act its occasion had passed."""
