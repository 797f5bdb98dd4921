"""The action `change_node_power_state`: turns the machine under a compute node on or off."""

from __future__ import annotations

from typing import Any, ClassVar

import structlog

from trimtab_applier.actions.asking import Asking
from trimtab_applier.actions.contract import ActionPlugin
from trimtab_applier.errors import ActionFailed, ActionSkipped
from trimtab_common.domain.baremetal import PowerState
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.openstack.power_writes import MachineView

log = structlog.get_logger(__name__)
WITHIN_S = 600.0
"""Machines take minutes to answer their management controller (B-239: 60 looks, 10 s apart)."""

LOCKED_TRIES = 30


class ChangeNodePowerState(ActionPlugin):
    """Switches a machine through Ironic or MaaS; never off under servers (B-239)."""

    action_type: ClassVar[str] = "change_node_power_state"
    description: ClassVar[str] = "Compute node power on/off through Ironic or MaaS."
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "resource_id": {"type": "string", "minLength": 1},
            "resource_name": {"type": ["string", "null"]},
            "state": {"type": "string", "enum": ["on", "off"]},
        },
        "required": ["resource_id", "state"],
        "additionalProperties": False,
    }

    async def pre_condition(self) -> None:
        """The machine is there."""
        machine = await self.context.power.machine(self._uuid)
        if machine is None:
            raise ActionSkipped(f"Node {self._uuid} not found")
        self.context.intend(prior_power=str(machine.power), prior_error=machine.error)

    async def execute(self) -> bool:
        """Nothing to do where it is so already; else asks, then looks until it is so."""
        machine = await self.context.power.machine(self._uuid)
        if machine is None:
            raise ActionFailed(f"Node {self._uuid} is gone")
        if machine.power is self._wanted and not machine.is_switching:
            return True
        if self._wanted is PowerState.OFF:
            await self._check_empty(machine)
        asking = self._asking()
        await asking.ask()
        return await self._follow(asking)

    async def resume(self) -> bool:
        """Looks first; the check for servers comes before anything is asked again."""
        machine = await self.context.power.machine(self._uuid)
        if (
            self._wanted is PowerState.OFF
            and machine is not None
            and machine.power is not self._wanted
            and not machine.is_switching
        ):
            await self._check_empty(machine)
        return await self._follow(self._asking())

    async def post_condition(self) -> None:
        """Collector is told to look."""
        await self.context.reread("baremetal", self._uuid)

    async def _follow(self, asking: Asking) -> bool:
        clock = self.context.clock
        until = clock.monotonic() + WITHIN_S
        while clock.monotonic() < until:
            try:
                machine = await self.context.power.machine(self._uuid)
            except TrimtabError as error:
                log.warning("machine not seen", node=self._uuid, problem=error.message)
                await clock.sleep(self.context.limits.poll_s)
                continue
            if machine is None:
                raise ActionFailed(f"Node {self._uuid} is gone")
            if machine.power is self._wanted:
                self.context.found(power=str(machine.power))
                return True
            if not machine.is_switching:
                if machine.error and machine.error != self.context.intent.get("prior_error"):
                    raise ActionFailed(f"Node {self._uuid} stays {machine.power}: {machine.error}")
                if not asking.is_accepted:
                    await asking.found_no_trace()
            await clock.sleep(self.context.limits.poll_s)
        raise ActionFailed(f"Node {self._uuid} did not go {self._wanted} within {WITHIN_S:g} s")

    def _asking(self) -> Asking:
        """Ironic locks a node at every look at its power; its own client asks again, too."""
        return Asking(self.context, self._switch, patience=LOCKED_TRIES)

    async def _switch(self) -> None:
        await self.context.power.switch(self._uuid, on=self._wanted is PowerState.ON)

    async def _check_empty(self, machine: MachineView) -> None:
        """Of the compute node on it no server is left, of whichever state."""
        if machine.maintenance:
            raise ActionFailed(f"Node {self._uuid} is under maintenance; its operator switches it")
        host = self.context.parameters.get("resource_name")
        if not host and machine.compute_node_id:
            host = await self.context.nova.hypervisor_host(machine.compute_node_id)
        if not host:
            raise ActionFailed(
                f"Node {self._uuid} is not powered off: nobody says which compute node it is. Give "
                "resource_name, or set extra.compute_node_id of the node."
            )
        count = await self.context.nova.servers_on(str(host))
        if count:
            raise ActionFailed(f"Node {self._uuid} is not powered off: {host} has {count} servers")

    @property
    def _uuid(self) -> str:
        return str(self.context.parameters["resource_id"])

    @property
    def _wanted(self) -> PowerState:
        return PowerState(self.context.parameters["state"])
