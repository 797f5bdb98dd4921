"""``/os-services``: nova-compute and its companions; how a host is disabled or forced down."""

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.clock import iso_micro
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest, NotFound
from trimtab_fakecloud.hosts import DISABLED_TRAIT, Host
from trimtab_fakecloud.rest.answers import answer, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import at_least
from trimtab_fakecloud.tokens import stable_id

_CONTROLLERS = ("nova-scheduler", "nova-conductor")
_FILTERS = frozenset({"host", "binary"})


class ServicesApi:
    """Handlers of services."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/os-services", self.list_all),
            Route("/os-services/{id}", self.update, methods=["PUT"]),
        ]

    async def list_all(self, request: Request) -> Response:
        """``GET /os-services``."""
        caller_of(request).token.require_admin("os_compute_api:os-services:list")
        query = request.query_params
        if (unknown := sorted(set(query) - _FILTERS)) and at_least(request, 75):
            raise BadRequest(
                f"Additional properties are not allowed ({unknown[0]!r} was unexpected)"
            )
        rows = [self._controller(request, *pair) for pair in enumerate(_CONTROLLERS)]
        rows += [self._view(request, host) for host in self._cloud.hosts.values()]
        for name in _FILTERS:
            if wanted := query.get(name):
                rows = [row for row in rows if row[name] == wanted]
        return answer({"services": rows})

    async def update(self, request: Request) -> Response:
        """``PUT /os-services/{id}``: by uuid from 2.53 on, by verb before."""
        caller_of(request).token.require_admin("os_compute_api:os-services:update")
        body = await json_object(request)
        if at_least(request, 53):
            return self._update(request, request.path_params["id"], body)
        return self._update_by_verb(request.path_params["id"], body)

    def _update(self, request: Request, service_id: str, body: dict[str, Any]) -> Response:
        host = self._by_uuid(service_id)
        _check_fields(body, {"status", "disabled_reason", "forced_down"})
        status, forced_down = body.get("status"), body.get("forced_down")
        if status is None and forced_down is None:
            raise BadRequest(
                "No updates were requested. Fields 'status' or 'forced_down' should be specified."
            )
        if status not in (None, "enabled", "disabled"):
            raise BadRequest(
                f"Invalid input for field/attribute status. Value: {status}. "
                f"{status!r} is not one of ['enabled', 'disabled']"
            )
        if "disabled_reason" in body and status != "disabled":
            raise BadRequest(
                "Specifying disabled_reason requires that the status is set to 'disabled'."
            )
        if status is not None:
            self._set_disabled(host, body.get("disabled_reason"), disabled=status == "disabled")
        if forced_down is not None:
            host.forced_down = bool(forced_down)
            self._cloud.host_updated(host)
        return answer({"service": self._view(request, host)})

    def _update_by_verb(self, verb: str, body: dict[str, Any]) -> Response:
        host = self._cloud.hosts.get(str(body.get("host")))
        if host is None or body.get("binary") != "nova-compute":
            raise NotFound(
                f"Could not find binary {body.get('binary')} on host {body.get('host')}."
            )
        said: dict[str, Any] = {"host": host.name, "binary": "nova-compute"}
        if verb == "force-down":
            host.forced_down = bool(body.get("forced_down"))
            self._cloud.host_updated(host)
            return answer({"service": {**said, "forced_down": host.forced_down}})
        if verb not in ("enable", "disable", "disable-log-reason"):
            raise NotFound("Unknown action")
        reason = body.get("disabled_reason") if verb == "disable-log-reason" else None
        if verb == "disable-log-reason" and not reason:
            raise BadRequest("Missing disabled reason field")
        self._set_disabled(host, reason, disabled=verb != "enable")
        said["status"] = host.status
        return answer({"service": {**said, **({"disabled_reason": reason} if reason else {})}})

    def _set_disabled(self, host: Host, reason: str | None, *, disabled: bool) -> None:
        host.disabled = disabled
        host.disabled_reason = reason if disabled else None
        (host.traits.add if disabled else host.traits.discard)(DISABLED_TRAIT)
        self._cloud.host_updated(host)

    def _by_uuid(self, service_id: str) -> Host:
        try:
            uuid.UUID(service_id)
        except ValueError:
            raise BadRequest(f"Invalid uuid {service_id}") from None
        for host in self._cloud.hosts.values():
            if host.service_uuid == service_id:
                return host
        raise NotFound(f"Service {service_id} could not be found.")

    def _view(self, request: Request, host: Host) -> dict[str, Any]:
        # a service that is up reported a moment ago
        seen = self._cloud.now() if host.is_up else host.updated_at or self._cloud.began_at - 600
        shown: dict[str, Any] = {
            "id": host.service_uuid if at_least(request, 53) else host.number,
            "binary": "nova-compute",
            "host": host.name,
            "zone": self._cloud.zone_of(host.name),
            "status": host.status,
            "state": host.state,
            "disabled_reason": host.disabled_reason,
            "updated_at": iso_micro(seen),
        }
        return {**shown, "forced_down": host.forced_down} if at_least(request, 11) else shown

    def _controller(self, request: Request, index: int, binary: str) -> dict[str, Any]:
        """A scheduler or conductor, which is always well."""
        number = len(self._cloud.hosts) + index + 1
        service_uuid = str(uuid.UUID(stable_id("service", binary)))
        shown: dict[str, Any] = {
            "id": service_uuid if at_least(request, 53) else number,
            "binary": binary,
            "host": "controller",
            "zone": "internal",
            "status": "enabled",
            "state": "up",
            "disabled_reason": None,
            "updated_at": iso_micro(self._cloud.now()),
        }
        return {**shown, "forced_down": False} if at_least(request, 11) else shown


def _check_fields(body: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(body) - known):
        raise BadRequest(f"Additional properties are not allowed ({unknown[0]!r} was unexpected)")
