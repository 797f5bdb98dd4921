"""Which action types there are."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import jsonschema
import pytest

from trimtab_applier.actions import ActionPlugin, load_action_types
from trimtab_applier.actions.nop import Nop


class Wave(ActionPlugin):
    action_type: ClassVar[str] = "wave"
    description: ClassVar[str] = "Waves"
    schema: ClassVar[dict[str, Any]] = {"type": "object", "additionalProperties": False}

    async def execute(self) -> bool:
        return True


class Impostor(Wave):
    action_type: ClassVar[str] = "nop"


def entry(name: str) -> EntryPoint:
    return EntryPoint(name=name, value=f"test_action_types:{name}", group="trimtab_actions")


def test_outside_types_are_added_and_cannot_take_a_name():
    found = load_action_types([entry("Wave"), entry("Impostor"), entry("entry")]).by_name
    assert found["wave"].__name__ == "Wave"
    assert found["nop"] is Nop
    assert set(found) == set(load_action_types([]).by_name) | {"wave"}


@pytest.mark.req("A-108")
def test_every_schema_is_sound_and_refuses_what_it_does_not_name():
    for plugin in load_action_types([]).by_name.values():
        jsonschema.Draft4Validator.check_schema(plugin.schema)
        assert plugin.schema["additionalProperties"] is False


@pytest.mark.req("B-230")
def test_descriptions_are_those_that_clients_know():
    assert load_action_types([]).descriptions() == {
        "migrate": "Moving a VM instance from source_node to destination_node",
        "change_nova_service_state": (
            "Disables or enables the nova-compute service. A disabled nova-compute service can "
            "not be selected by the nova for future deployment of new server."
        ),
        "resize": "Resize a server with specified flavor.",
        "sleep": "Wait for a given interval in seconds.",
        "nop": "Logging a NOP message",
        "stop": "Stop a VM instance",
        "start": "Start a VM instance",
        "volume_migrate": "Moving a volume to destination_node or destination_type",
        "change_node_power_state": "Compute node power on/off through Ironic or MaaS.",
    }
