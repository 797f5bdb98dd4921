"""The action `change_nova_service_state`: opens a host for new servers, or closes it."""

from __future__ import annotations

from typing import Any, ClassVar

from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.openstack.nova_writes import OutcomeUnknown, ServiceView

ENABLED, DISABLED = "enabled", "disabled"
DEFAULT_REASON = "watcher_disabled"


class ChangeNovaServiceState(ActionPlugin):
    """Enables or disables a nova-compute service (B-236)."""

    action_type: ClassVar[str] = "change_nova_service_state"
    description: ClassVar[str] = (
        "Disables or enables the nova-compute service. A disabled nova-compute service can not "
        "be selected by the nova for future deployment of new server."
    )
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
            "state": {"type": "string", "enum": ["enabled", "disabled", "up", "down"]},
            "disabled_reason": {"type": ["string", "null"]},
        },
        "required": ["resource_id", "state"],
        "additionalProperties": False,
    }

    async def pre_condition(self) -> None:
        """The service exists and is not in that state yet."""
        wanted = self.context.parameters["state"]
        if wanted not in (ENABLED, DISABLED):
            raise ActionFailed(f"State {wanted!r} cannot be set; use enabled or disabled")
        service = await self._service()
        if service is None:
            raise ActionSkipped(f"nova-compute service of {self._name} not found")
        if service.status == wanted:
            raise ActionSkipped(f"nova-compute service of {service.host} is already {wanted}")
        self.context.intend(
            service=service.uuid,
            host=service.host,
            prior_status=service.status,
            prior_reason=service.disabled_reason,
        )

    async def execute(self) -> bool:
        """Sets the state, which may be done twice without harm."""
        last: OutcomeUnknown | None = None
        for _ in range(self.context.limits.http_retries + 1):
            try:
                service = await self.context.write(self._set)
            except OutcomeUnknown as error:
                last = error
                await self.context.clock.sleep(self.context.limits.http_retry_interval_s)
                continue
            if service.status != self.context.parameters["state"]:
                raise ActionFailed(f"Nova says that {service.host} is {service.status}")
            return True
        raise ActionFailed(f"Outcome unknown: {last.message if last else 'not tried'}")

    async def _set(self) -> ServiceView:
        given = self.context.parameters
        is_enabled = given["state"] == ENABLED
        return await self.context.nova.set_service_status(
            self.context.intent["service"],
            enabled=is_enabled,
            reason=None if is_enabled else given.get("disabled_reason") or DEFAULT_REASON,
        )

    @property
    def _name(self) -> str:
        return str(self.context.parameters.get("resource_name") or self._id)

    @property
    def _id(self) -> str:
        return str(self.context.parameters["resource_id"])

    async def _service(self) -> ServiceView | None:
        """By host name; without one, by the id of the service or of the hypervisor."""
        services = await self.context.nova.compute_services()
        by_host = {service.host: service for service in services}
        if self.context.parameters.get("resource_name"):
            return by_host.get(self._name)
        found = by_host.get(self._id) or next((s for s in services if s.uuid == self._id), None)
        if found is None:
            host = await self.context.nova.hypervisor_host(self._id)
            found = by_host.get(host) if host is not None else None
        return found
