"""The action `change_nova_service_state`: opens a host for new servers, or closes it."""

from __future__ import annotations

from typing import Any, ClassVar

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionContext, ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped, check_facts
from trimtab_common.domain.errors import DeadlineExceeded, Unavailable
from trimtab_common.domain.facts import host_changes
from trimtab_common.domain.inverses import DISABLED_REASON
from trimtab_common.openstack.nova_writes import ServiceView

ENABLED, DISABLED = "enabled", "disabled"
WITHIN_S = 80.0


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

    def __init__(self, context: ActionContext) -> None:
        super().__init__(context)
        self._answer: ServiceView | None = None

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
        if wanted == ENABLED:
            check_facts(host_changes(self.context.facts, service), f"Host {service.host}")
        self.context.intend(
            service=service.uuid,
            host=service.host,
            prior_status=service.status,
            prior_reason=service.disabled_reason,
        )

    async def execute(self) -> bool:
        """Asks Nova, then looks until it is so."""
        asking = Asking(self.context, self._set)
        await asking.ask()
        return await self._follow(asking)

    async def resume(self) -> bool:
        """Looks first."""
        return await self._follow(Asking(self.context, self._set))

    async def _follow(self, asking: Asking) -> bool:
        clock, wanted = self.context.clock, self.context.parameters["state"]
        until = clock.monotonic() + WITHIN_S
        while clock.monotonic() < until:
            try:
                service = await self._mine()
            except (Unavailable, DeadlineExceeded):
                await clock.sleep(self.context.limits.poll_s)
                continue
            if service is None:
                raise ActionFailed(f"nova-compute service of {self._name} is gone")
            if service.status == wanted:
                return True
            await asking.found_no_trace()
            await clock.sleep(self.context.limits.poll_s)
        raise ActionFailed(f"Host {self._name} did not become {wanted} within {WITHIN_S:g} s")

    async def _set(self) -> None:
        given = self.context.parameters
        is_enabled = given["state"] == ENABLED
        self._answer = await self.context.nova.set_service_status(
            self.context.intent["service"],
            enabled=is_enabled,
            reason=None if is_enabled else given.get("disabled_reason") or DISABLED_REASON,
        )

    async def _mine(self) -> ServiceView | None:
        """What Nova answered, once; then what it shows."""
        answer, self._answer = self._answer, None
        if answer is not None:
            return answer
        services = await self.context.nova.compute_services()
        return next((s for s in services if s.uuid == self.context.intent["service"]), None)

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
