"""The action types that the applier can run: this list, and what entry points add to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import structlog

from trimtab_applier.actions.change_node_power_state import ChangeNodePowerState
from trimtab_applier.actions.change_nova_service_state import ChangeNovaServiceState
from trimtab_applier.actions.contract import ActionContext, ActionPlugin
from trimtab_applier.actions.migrate import Migrate
from trimtab_applier.actions.nop import Nop
from trimtab_applier.actions.resize import Resize
from trimtab_applier.actions.sleep import Sleep
from trimtab_applier.actions.start import Start
from trimtab_applier.actions.stop import Stop
from trimtab_applier.actions.volume_migrate import VolumeMigrate
from trimtab_applier.errors import ActionFailed
from trimtab_common.domain.records import Action
from trimtab_common.rules import schemas

__all__ = ["BUILT_IN", "ActionContext", "ActionPlugin", "ActionTypes", "load_action_types"]

log = structlog.get_logger(__name__)
ENTRY_POINTS = "trimtab_actions"
BUILT_IN: tuple[type[ActionPlugin], ...] = (
    ChangeNodePowerState,
    ChangeNovaServiceState,
    Migrate,
    Nop,
    Resize,
    Sleep,
    Start,
    Stop,
    VolumeMigrate,
)


@dataclass(frozen=True, slots=True)
class ActionTypes:
    """The known action types by name."""

    by_name: Mapping[str, type[ActionPlugin]]

    def of(self, action: Action) -> type[ActionPlugin]:
        """The plug-in of an action whose parameters are right (A-108).

        Raises:
            ActionFailed: no such type, or parameters that its schema refuses.
        """
        plugin = self.by_name.get(action.action_type)
        if plugin is None:
            raise ActionFailed(f"No action type {action.action_type!r} is installed here")
        problem = schemas.problem_of(action.input_parameters, plugin.schema)
        if problem is not None:
            where, message = problem
            raise ActionFailed(f"Wrong parameters, {where or 'input_parameters'}: {message}")
        return plugin

    def descriptions(self) -> dict[str, str]:
        """The text of each type, for the record (A-104)."""
        return {name: plugin.description for name, plugin in self.by_name.items()}


def load_action_types(installed: Iterable[EntryPoint] | None = None) -> ActionTypes:
    """The built-in types and those that installed packages add; a name is given once."""
    by_name = {plugin.action_type: plugin for plugin in BUILT_IN}
    for entry_point in entry_points(group=ENTRY_POINTS) if installed is None else installed:
        plugin = entry_point.load()
        if not (isinstance(plugin, type) and issubclass(plugin, ActionPlugin)):
            log.error("no action plug-in", entry_point=entry_point.name, value=entry_point.value)
            continue
        if plugin.action_type in by_name:
            log.error("action type is taken", name=plugin.action_type, value=entry_point.value)
            continue
        by_name[plugin.action_type] = plugin
    return ActionTypes(by_name)
