"""Saving energy: as many free hosts powered on as are wanted in reserve, not more and not fewer.

Goal: saving_energy. Metrics: none; needs the baremetal model. Example with numbers: README.md
beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trimtab_common.domain.baremetal import NODE, BaremetalNodeRow, PowerState
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import ClusterStateNotDefined
from trimtab_decision.optimizer.eligibility import OWN_DISABLED_REASONS
from trimtab_decision.strategies.emptying import servers_per_host
from trimtab_decision.strategies.saving_energy import params


class SavingEnergy(Strategy):
    """Powers free hosts off and on."""

    name: ClassVar[str] = "saving_energy"
    display_name: ClassVar[str] = "Saving Energy Strategy"
    goal_name: ClassVar[str] = "saving_energy"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    needs_compute_model: ClassVar[bool] = True
    needs_baremetal_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Count, then switch the difference (B-180..B-182)."""
        given = context.parameters
        free_on, free_off, n_used = _sorted_out(context)
        percent = given.get("standby_used_percent", given["free_used_percent"])
        least = given.get("standby_nodes_int", given["min_free_hosts_num"])
        need = int(max(n_used * percent / 100.0, least))
        solution.stats.update(
            hosts_with_servers=n_used,
            free_powered_on=len(free_on),
            free_powered_off=len(free_off),
            free_wanted=need,
        )
        rng = np.random.default_rng(given.get("seed", context.seed))
        surplus = len(free_on) - need
        nodes = free_on if surplus > 0 else free_off
        count = min(abs(surplus), len(nodes))
        for index in sorted(rng.permutation(len(nodes))[:count].tolist()):
            _switch(solution, nodes[index], is_off=surplus > 0, need=need, free=len(free_on))
        if surplus == 0:
            solution.note(f"{need} free hosts are powered on, as wanted; nothing to do.")
        elif surplus < 0 and count < -surplus:
            solution.note(
                f"{need} free hosts should be powered on; {-surplus - count} more are lacking, and "
                "no other free host is powered off."
            )


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine and the hostname of the compute node on it."""

    node: BaremetalNodeRow
    hostname: str


def _sorted_out(
    context: StrategyContext,
) -> tuple[list[Machine], list[Machine], int]:
    """(free and on, free and off, how many have servers) of the nodes that count."""
    if context.baremetal is None:
        raise ClusterStateNotDefined(
            "The baremetal model is not defined: collector reads no Ironic. "
            "Configure it, then create the audit again."
        )
    snapshot = context.snapshot
    place = {uuid: index for index, uuid in enumerate(snapshot.host_uuid)}
    servers = servers_per_host(snapshot)
    free_on: list[Machine] = []
    free_off: list[Machine] = []
    n_used = 0
    for node in context.baremetal.of(NODE):
        host = place.get(node.compute_node_id)
        if host is None:
            continue
        is_off = node.power_state is PowerState.OFF
        if not snapshot.host_up[host] and not (is_off and not node.up_when_off):
            continue
        machine = Machine(node, snapshot.host_name[host])
        if servers[host]:
            n_used += 1
        elif node.maintenance or _is_others(context, host):
            continue
        elif node.power_state is PowerState.ON:
            free_on.append(machine)
        elif is_off:
            free_off.append(machine)
    return free_on, free_off, n_used


def _is_others(context: StrategyContext, host: int) -> bool:
    """Disabled, but not because we emptied it: in maintenance, or an operator's (B-041)."""
    snapshot = context.snapshot
    reason = snapshot.host_disabled_reason[host]
    return not snapshot.host_enabled[host] and reason not in OWN_DISABLED_REASONS


def _switch(solution: Solution, machine: Machine, *, is_off: bool, need: int, free: int) -> None:
    solution.add_action(
        "change_node_power_state",
        input_parameters={"state": "off" if is_off else "on", "resource_name": machine.hostname},
        resource_id=machine.node.uuid,
        reason=f"{free} free hosts are powered on, {need} are wanted.",
        facts={"host": machine.hostname, "power": machine.node.power_state.value},
    )
