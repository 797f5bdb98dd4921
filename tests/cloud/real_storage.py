"""The cloud's Cinder, as its administrator sees and uses it. Volumes that tests make are `tt-...`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from real_cloud import OURS, eventually

VERSION = "3.70"
_AT_REST = {"available", "in-use", "error", "error_deleting", "error_extending", "error_managing"}


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as Cinder tells of it. server: who has it, "" for nobody."""

    uuid: str
    name: str
    size_gb: int
    status: str
    pool: str
    type: str
    server: str
    migration: str

    @property
    def idle(self) -> bool:
        """Nothing is being done to it."""
        return self.status in _AT_REST and self.migration in {"", "success", "error"}


class RealStorage:
    """An administrator's view and hands, by few requests."""

    def __init__(self, connection: Any) -> None:
        self._cinder = connection.block_storage
        self.compute = connection.compute
        self._pools: list[str] = []

    def request(self, method: str, path: str, **given: Any) -> Any:
        """Cinder's answer, whatever it is."""
        return self._cinder.request(path, method, microversion=VERSION, raise_exc=False, **given)

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        answer = self.request("GET", path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer of a POST."""
        return self.request("POST", path, json=body)

    def act(self, uuid: str, **body: Any) -> Any:
        """The answer of an action on a volume."""
        return self.post(f"/volumes/{uuid}/action", body)

    def volumes(self) -> list[Volume]:
        """All volumes. Fewer than 1,000: one page."""
        return [_volume(row) for row in self.get("/volumes/detail?all_tenants=1")["volumes"]]

    def pools(self) -> list[str]:
        """Names of the pools, as they were when first asked for."""
        if not self._pools:
            rows = self.get("/scheduler-stats/get_pools")["pools"]
            self._pools = sorted(str(row["name"]) for row in rows)
        return self._pools

    def create(self, name: str, size_gb: int, kind: str) -> str:
        """A volume of ours that is available; its uuid."""
        assert name.startswith(OURS), name
        body = {"volume": {"name": name, "size": size_gb, "volume_type": kind}}
        answer = self.post("/volumes", body)
        assert answer.status_code == 202, answer.text
        uuid = str(answer.json()["volume"]["id"])
        self.at_rest(uuid)
        return uuid

    def volume(self, uuid: str) -> Volume:
        """One volume."""
        return _volume(self.get(f"/volumes/{uuid}")["volume"])

    def at_rest(self, uuid: str, limit_s: float = 60.0) -> Volume:
        """The volume once it is idle."""

        def ask() -> Volume | None:
            found = self.volume(uuid)
            return found if found.idle else None

        return eventually(ask, f"volume {uuid} is idle", limit_s)

    def move(self, uuid: str, pool: str) -> None:
        """Into this pool, which holds it afterwards."""
        if self.volume(uuid).pool == pool:
            return
        answer = self.act(uuid, **{"os-migrate_volume": {"host": pool}})
        assert answer.status_code == 202, answer.text
        eventually(lambda: self.at_rest(uuid).pool == pool, f"volume {uuid} is in {pool}", 60)

    def reset(self, uuid: str) -> None:
        """At rest again by decree: in error, or available with nobody's hands on it."""
        state = {"status": "error", "migration_status": "none"}
        self.act(uuid, **{"os-reset_status": state})

    def do_away_with(self, uuid: str) -> Any:
        """Asks for its end, whatever state it is in."""
        for row in self.get(f"/attachments?volume_id={uuid}&all_tenants=1")["attachments"]:
            self.request("DELETE", f"/attachments/{row['id']}")
        state = {"status": "available", "attach_status": "detached", "migration_status": "none"}
        self.act(uuid, **{"os-reset_status": state})
        return self.request("DELETE", f"/volumes/{uuid}")

    def tidy(self) -> None:
        """Away with what tests made."""
        for volume in self.volumes():
            if volume.name.startswith(OURS):
                self.do_away_with(volume.uuid)


def _volume(row: dict[str, Any]) -> Volume:
    attached = [item["server_id"] for item in row["attachments"]]
    return Volume(
        row["id"],
        row["name"] or "",
        int(row["size"]),
        row["status"],
        row.get("os-vol-host-attr:host") or "",
        row.get("volume_type") or "",
        str(attached[0]) if attached else "",
        row.get("migration_status") or "",
    )
