"""``/os-hypervisors``."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.hosts import DISK_GB, MEMORY_MB, VCPU, Host
from trimtab_fakecloud.rest.answers import answer
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import after_marker, at_least, boolean, page_of
from trimtab_fakecloud.rest.nova.server_view import instance_name
from trimtab_fakecloud.servers import VmState

_RULE = "os_compute_api:os-hypervisors:list-detail"


class HypervisorsApi:
    """Handlers of hypervisors."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/os-hypervisors/detail", self.list_detailed),
            Route("/os-hypervisors", self.list_brief),
            Route("/os-hypervisors/{id}", self.show),
        ]

    async def list_detailed(self, request: Request) -> Response:
        """``GET /os-hypervisors/detail``."""
        return self._list(request, detail=True)

    async def list_brief(self, request: Request) -> Response:
        """``GET /os-hypervisors``."""
        return self._list(request, detail=False)

    async def show(self, request: Request) -> Response:
        """``GET /os-hypervisors/{id}``."""
        caller_of(request).token.require_admin("os_compute_api:os-hypervisors:show")
        wanted = request.path_params["id"]
        for host in self._cloud.hosts.values():
            if wanted == (host.uuid if at_least(request, 53) else str(host.number)):
                with_servers = _with_servers(request)
                shown = self._view(request, host, detail=True, with_servers=with_servers)
                return answer({"hypervisor": shown})
        raise NotFound(f"Hypervisor with ID '{wanted}' could not be found.")

    def _list(self, request: Request, *, detail: bool) -> Response:
        caller_of(request).token.require_admin(_RULE)
        query = request.query_params
        pattern = query.get("hypervisor_hostname_pattern") if at_least(request, 53) else None
        with_servers = _with_servers(request)
        hosts = list(self._cloud.hosts.values())
        content: dict[str, Any] = {}
        if pattern is not None:
            if "limit" in query or "marker" in query:
                raise BadRequest(
                    "Paging over hypervisors with the hypervisor_hostname_pattern "
                    "query parameter is not supported."
                )
            hosts = [host for host in hosts if pattern in host.name]
            if not hosts:
                raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
        elif at_least(request, 33):
            page = page_of(request, self._cloud.spec.page_limit)
            key = "uuid" if at_least(request, 53) else "number"
            hosts = list(after_marker(hosts, page, key))[: page.limit]
        shown = [self._view(request, h, detail=detail, with_servers=with_servers) for h in hosts]
        if pattern is None and at_least(request, 33):
            path = "os-hypervisors/detail" if detail else "os-hypervisors"
            if next_link := page.next_link(request, path, shown):
                content["hypervisors_links"] = next_link
        return answer({"hypervisors": shown, **content})

    def _view(
        self, request: Request, host: Host, *, detail: bool, with_servers: bool
    ) -> dict[str, Any]:
        by_uuid = at_least(request, 53)
        shown: dict[str, Any] = {
            "id": host.uuid if by_uuid else host.number,
            "hypervisor_hostname": host.name,
            "state": host.state,
            "status": host.status,
        }
        if detail:
            shown |= {
                "hypervisor_type": "fake",
                "hypervisor_version": 1000,
                "host_ip": f"192.0.2.{host.number % 254 + 1}",
                "service": {
                    "id": host.service_uuid if by_uuid else host.number,
                    "host": host.name,
                    "disabled_reason": host.disabled_reason,
                },
            }
            shown |= self._uptime(host) if at_least(request, 88) else self._sizes(request, host)
        servers = self._cloud.servers_on(host.name) if with_servers else []
        if servers or (with_servers and at_least(request, 75)):
            shown["servers"] = [{"name": instance_name(s), "uuid": s.id} for s in servers]
        return shown

    def _uptime(self, host: Host) -> dict[str, Any]:
        if host.state != "up":
            return {"uptime": None}
        minutes = int(self._cloud.now() - self._cloud.began_at) // 60
        spent = f"{minutes // 1440} days, {minutes // 60 % 24:2}:{minutes % 60:02}"
        return {"uptime": f" up {spent},  1 user,  load average: 0.00, 0.00, 0.00"}

    def _sizes(self, request: Request, host: Host) -> dict[str, Any]:
        """What microversion 2.88 took away."""
        servers = self._cloud.servers_on(host.name)
        used = self._cloud.allocations.used(host.uuid)
        reserved = {name: i.reserved for name, i in host.inventories.items()}
        memory_used = used[MEMORY_MB] + reserved[MEMORY_MB]
        disk_used = used[DISK_GB] + reserved[DISK_GB]
        return {
            "vcpus": host.vcpus,
            "memory_mb": host.memory_mib,
            "local_gb": host.disk_gib,
            "vcpus_used": used[VCPU],
            "memory_mb_used": memory_used,
            "local_gb_used": disk_used,
            "free_ram_mb": host.memory_mib - memory_used,
            "free_disk_gb": host.disk_gib - disk_used,
            "current_workload": sum(s.task_state is not None for s in servers),
            "running_vms": sum(s.vm_state is not VmState.BUILDING for s in servers),
            "disk_available_least": host.disk_gib - disk_used,
            "cpu_info": {} if at_least(request, 28) else "{}",
        }


def _with_servers(request: Request) -> bool:
    if not at_least(request, 53):
        return False
    return boolean(request.query_params.get("with_servers"), "with_servers")
