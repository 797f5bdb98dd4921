"""What is done to volumes, chosen at random by what state each is in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from random_acts import Act, Stuck
from real_cloud import OURS, VERSION, Server
from real_storage import RealStorage, Volume

FEWEST, MOST = 4, 12
STUCK_AFTER_S = 60.0
ASKED_AGAIN_AFTER_S = 30.0


class VolumeActs:
    """Acts on volumes of ours, at most one on each at a time."""

    def __init__(self, storage: RealStorage, chance: random.Random, seed: int) -> None:
        self._storage = storage
        self._random = chance
        self._prefix = f"{OURS}random-{seed}-"
        self._number = 0
        self._stuck = Stuck(time.monotonic, STUCK_AFTER_S)
        self.patient = False
        self.rescued = 0

    def ours(self) -> list[Volume]:
        """Our volumes, by name."""
        found = [v for v in self._storage.volumes() if v.name.startswith(self._prefix)]
        return sorted(found, key=lambda v: v.name)

    def choose(self, servers: list[Server]) -> list[Act]:
        """Acts for some of them; more volumes where there are few. servers: who may have them."""
        ours = self.ours()
        self.rescue(ours)
        acts = [act for volume in ours if (act := self._on(volume, servers, len(ours))) is not None]
        if len(ours) < FEWEST or (len(ours) < MOST and self._random.random() < 0.4):
            acts.append(self._create())
        return acts

    def rescue(self, ours: list[Volume], *, anyway: bool = False) -> None:
        """Resets what is stuck, as an operator would."""
        busy = {volume.uuid for volume in ours if not volume.idle}
        for uuid in self._stuck.among(busy):
            if self.patient or anyway:
                self._storage.reset(uuid)
                self.rescued += 1

    def settle(self, limit_s: float = 180.0) -> None:
        """Returns when nothing is done to ours; what is stuck is reset: Nova may accept an attachment
        and lose its server meanwhile, and then Cinder keeps the volume reserved for ever.
        """
        end = time.monotonic() + limit_s
        while busy := [v for v in self.ours() if not v.idle]:
            assert time.monotonic() < end, f"not idle within {limit_s:.0f} s: {busy}"
            self.rescue(busy, anyway=True)
            time.sleep(1)

    def clean(self, limit_s: float = 180.0) -> None:
        """Deletes ours, whatever state they are in."""
        end, asked = time.monotonic() + limit_s, -1000.0
        while ours := self.ours():
            now = time.monotonic()
            assert now < end, f"not deleted within {limit_s:.0f} s: {ours}"
            if now - asked > ASKED_AGAIN_AFTER_S:
                asked = now
                for volume in ours:
                    self._storage.do_away_with(volume.uuid)
            time.sleep(1)

    def _create(self) -> Act:
        self._number += 1
        body = {
            "name": f"{self._prefix}{self._number}",
            "size": self._random.randint(1, 30),
            "volume_type": self._random.choice(["fast", "slow"]),
        }
        return Act("volume created", lambda: self._storage.post("/volumes", {"volume": body}))

    def _on(self, volume: Volume, servers: list[Server], count: int) -> Act | None:
        chance = self._random.random()
        if chance < 0.4:
            return None  # left alone this time
        if volume.status.startswith("error"):
            return Act("volume deleted", lambda: self._storage.do_away_with(volume.uuid))
        if not volume.idle:
            return None
        if volume.server:
            return Act("volume detached", self._detach(volume)) if chance < 0.8 else None
        if count > FEWEST and chance < 0.47:
            return Act(
                "volume deleted", lambda: self._storage.request("DELETE", f"/volumes/{volume.uuid}")
            )
        kind, ask = self._random.choice(self._possible(volume, servers))
        return Act(kind, ask)

    def _possible(
        self, volume: Volume, servers: list[Server]
    ) -> list[tuple[str, Callable[[], Any]]]:
        def action(**body: Any) -> Callable[[], Any]:
            return lambda: self._storage.act(volume.uuid, **body)

        node = volume.pool.partition("#")[0]
        other = [
            pool
            for pool in self._storage.pools()
            if pool != volume.pool and pool.startswith(f"{node}#")
        ]
        kind = "slow" if volume.type == "fast" else "fast"
        retype = {"new_type": kind, "migration_policy": "on-demand"}
        colour = {"metadata": {"colour": f"{self._random.random():.3f}"}}
        found = [
            ("volume retyped", action(**{"os-retype": retype})),
            ("volume extended", action(**{"os-extend": {"new_size": volume.size_gb + 1}})),
            (
                "volume's metadata",
                lambda: self._storage.post(f"/volumes/{volume.uuid}/metadata", colour),
            ),
        ]
        if other:
            move = {"host": self._random.choice(other), "force_host_copy": False}
            found += [("volume migrated", action(**{"os-migrate_volume": move}))] * 3
        able = [s for s in servers if s.idle and s.status in {"ACTIVE", "SHUTOFF", "PAUSED"}]
        if able:
            found += [("volume attached", self._attach(volume, self._random.choice(able)))] * 3
        return found

    def _attach(self, volume: Volume, server: Server) -> Callable[[], Any]:
        body = {"volumeAttachment": {"volumeId": volume.uuid}}
        path = f"/servers/{server.uuid}/os-volume_attachments"
        return lambda: self._storage.compute.post(path, json=body, microversion=VERSION)

    def _detach(self, volume: Volume) -> Callable[[], Any]:
        path = f"/servers/{volume.server}/os-volume_attachments/{volume.uuid}"
        return lambda: self._storage.compute.delete(path, microversion=VERSION)
