"""A plan that takes its time: the maintenance of a host that has slow servers of ours."""

from __future__ import annotations

from typing import Any

from real_cloud import OURS, RealCloud, eventually

from trimtab_cli.rest import RestClient

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}


def audited(rest: RestClient, goal: str, strategy: str, **parameters: Any) -> dict[str, Any]:
    """An audit, ended."""
    body = {"audit_type": "ONESHOT", "goal": goal, "strategy": strategy, "parameters": parameters}
    audit = rest.post("/v1/audits", body)
    path = f"/v1/audits/{audit['uuid']}"
    return dict(rest.wait(path, lambda a: a["state"] in ENDED, timeout_s=120))


def plan_of(rest: RestClient, audit: dict[str, Any]) -> dict[str, Any]:
    """The plan of an audit that went well."""
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    found = rest.get(f"/v1/action_plans/detail?audit_uuid={audit['uuid']}")["action_plans"]
    return dict(found[0])


class Maintenance:
    """A host with `count` servers of ours beside few others, and the plan that empties it.

    Each of ours moves for `seconds`, and one moves out of a host at a time.
    """

    def __init__(self, rest: RestClient, cloud: RealCloud, *, seconds: int, count: int = 1) -> None:
        self._rest = rest
        self._cloud = cloud
        crowd = dict.fromkeys(cloud.services(), 0)
        for server in cloud.servers().values():
            crowd[server.host] += 1
        self.host = min(crowd, key=lambda host: crowd[host])
        slow = {"devcloud_live_migration_seconds": str(seconds)}
        self.servers = [
            cloud.create(f"{OURS}slow", host=self.host, flavor="m1.tiny", metadata=slow)
            for _ in range(count)
        ]
        for uuid in self.servers:
            cloud.active(uuid)
        eventually(lambda: set(self.servers) <= self._known(), "the model has the servers", 40)
        self.plan = plan_of(
            rest,
            audited(rest, "cluster_maintaining", "host_maintenance", maintenance_node=self.host),
        )

    def start(self) -> None:
        """Starts the plan, and returns when a server of ours moves."""
        self._rest.post(f"/v1/action_plans/{self.plan['uuid']}/start")
        eventually(self._is_moving, "a migration runs", 60)

    def now(self) -> dict[str, Any]:
        """The plan as REST shows it."""
        return dict(self._rest.get(f"/v1/action_plans/{self.plan['uuid']}"))

    def actions(self) -> list[dict[str, Any]]:
        """The plan's actions as REST shows them."""
        path = f"/v1/actions/detail?action_plan_uuid={self.plan['uuid']}"
        return list(self._rest.get(path)["actions"])

    def ended(self, limit_s: float = 180.0) -> dict[str, Any]:
        """The plan once it has ended."""
        path = f"/v1/action_plans/{self.plan['uuid']}"
        return dict(self._rest.wait(path, lambda p: p["state"] in ENDED, timeout_s=limit_s))

    def succeeds(self, limit_s: float = 180.0) -> None:
        """Waits for the good end; then the host is empty, and ours are deleted."""
        done = self.ended(limit_s)
        assert done["state"] == "SUCCEEDED", (done["status_message"], self.actions())
        assert not self._cloud.servers_on(self.host)
        self.clean()

    def clean(self) -> None:
        """Away with what was made for it."""
        self._cloud.enable_all()
        self._cloud.delete(*self.servers)

    def _known(self) -> set[str]:
        return {row.get("server_uuid") for row in self._rest.get("/v1/data_model")["context"]}

    def _is_moving(self) -> bool:
        return any(
            migration["status"] == "running"
            for uuid in self.servers
            for migration in self._cloud.migrations(uuid)
        )
