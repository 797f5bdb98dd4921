"""Replays a plan on a BtrPlace document, step by step, with its constraints; no search code.

A move takes its target, at the demand of the end, before its source is released; then demands
rise. Continuous constraints are checked at each step, the others at the end.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.perf.btrplace_instances import Instance


def violations(instance: Instance, moves: list[tuple[int, int]]) -> list[str]:
    """Every rule broken by the plan [(vm, node)], or left broken after it."""
    return _Replay(instance.document).run(moves)


class _Replay:
    def __init__(self, document: dict[str, Any]) -> None:
        mapping = document["model"]["mapping"]
        self.constraints = document["constraints"]
        self.views = [view for view in document["model"]["views"] if "rcId" in view]
        self.offline = set(mapping["offlineNodes"])
        self.place: dict[int, int | None] = dict.fromkeys(mapping["readyVMs"])
        for node, held in mapping["onlineNodes"].items():
            for vm in held["runningVMs"]:
                self.place[vm] = int(node)
        self.now = {
            view["rcId"]: {
                vm: view["vms"].get(str(vm), view["defConsumption"]) for vm in self.place
            }
            for view in self.views
        }
        self.wanted = {rc: dict(amounts) for rc, amounts in self.now.items()}
        self.spreads: dict[int, list[list[int]]] = defaultdict(list)
        self.amongs: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for one in self.constraints:
            if one["id"] == "preserve":
                known = self.wanted[one["rc"]]
                known[one["vm"]] = max(known[one["vm"]], one["amount"])
            elif one["id"] == "spread" and one.get("continuous"):
                for vm in one["vms"]:
                    self.spreads[vm].append(one["vms"])
            elif one["id"] == "among" and one.get("continuous"):
                for vm in one["vms"]:
                    self.amongs[vm].append(one)
        self.used: dict[str, dict[int, float]] = {rc: defaultdict(float) for rc in self.now}
        for vm, node in self.place.items():
            if node is not None:
                for rc in self.used:
                    self.used[rc][node] += self.now[rc][vm]
        self.found: list[str] = []

    def run(self, moves: list[tuple[int, int]]) -> list[str]:
        moved: set[int] = set()
        for vm, node in moves:
            if vm in moved:
                self.found.append(f"VM {vm} moves twice")
            moved.add(vm)
            self._step(vm, node)
        for rc, amounts in self.wanted.items():
            for vm, amount in amounts.items():
                node = self.place[vm]
                if node is not None and vm not in moved:
                    self.used[rc][node] += amount - self.now[rc][vm]
        for view in self.views:
            for node, amount in self.used[view["rcId"]].items():
                if amount > view["nodes"].get(str(node), view["defCapacity"]):
                    self.found.append(f"node {node} is over its {view['rcId']} in the end")
        for one in self.constraints:
            self._constraint(one)
        return self.found

    def _step(self, vm: int, node: int) -> None:
        source = self.place[vm]
        if source == node or node in self.offline:
            self.found.append(f"VM {vm} cannot go to node {node}")
        for view in self.views:
            rc = view["rcId"]
            self.used[rc][node] += self.wanted[rc][vm]
            if self.used[rc][node] > view["nodes"].get(str(node), view["defCapacity"]):
                self.found.append(f"node {node} is over its {rc} while VM {vm} arrives")
        for group in self.spreads[vm]:
            for other in group:
                if other != vm and self.place[other] == node:
                    self.found.append(f"VMs {vm} and {other} meet on node {node}")
        if source is not None:
            for rc, used in self.used.items():
                used[source] -= self.now[rc][vm]
        was_together = [self._is_together(one) for one in self.amongs[vm]]
        self.place[vm] = node
        for one, was in zip(self.amongs[vm], was_together, strict=True):
            if was and not self._is_together(one):
                self.found.append(f"VM {vm} leaves the part of its among")

    def _is_together(self, one: dict[str, Any]) -> bool:
        """Whether all running VMs of an `among` are in one of its parts."""
        places = {self.place[vm] for vm in one["vms"]} - {None}
        return any(places <= set(part) for part in one["parts"])

    def _constraint(self, one: dict[str, Any]) -> None:
        kind = one["id"]
        if kind == "spread":
            places = [self.place[vm] for vm in one["vms"] if self.place[vm] is not None]
            if len(places) != len(set(places)):
                self.found.append(f"spread {one['vms']} in the end")
        elif kind == "among":
            if not self._is_together(one):
                self.found.append(f"among of VMs {one['vms']} in the end")
        elif kind == "running" and self.place[one["vm"]] is None:
            self.found.append(f"VM {one['vm']} does not run")
        elif kind == "offline" and one["node"] in self.place.values():
            self.found.append(f"node {one['node']} cannot go offline")
        elif kind in {"fence", "ban"}:
            vms = [one["vm"]] if "vm" in one else one["vms"]
            inside = {self.place[vm] in one["nodes"] for vm in vms if self.place[vm] is not None}
            if inside - {kind == "fence"}:
                self.found.append(f"{kind} of VMs {vms} in the end")
