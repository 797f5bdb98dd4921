"""Ours against the documented rule of vm_workload_consolidation, on the same random clouds.

Compared are clouds on which the rule's own plan breaks nothing: what the verifier checks, with the
moves one after the other, and no soft server group. Ours must never be worse by the strategy's
measure: cores over the limit, then hosts in use. The one exception is a cloud at rest, where ours
plans nothing because every further host costs many moves (see ADR 0022).

    python tests/oracle/against_the_rule.py --pairs 2000 [--first-seed 0]
"""

import argparse
import dataclasses
import sys
from collections import Counter, defaultdict

import numpy as np
from documented_consolidation import LIVE, Rule
from oracle import REGISTRY, carried_out, run
from random_clouds import random_cloud
from subjects import SUBJECTS

from trimtab_common.rules import parameters as rules
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.verifier import verify

NAME = "vm_workload_consolidation"
TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Two results by the measure, and how many moves each took; `rule` None: its plan is unclean."""

    rule: tuple | None
    ours: tuple
    rule_moves: int
    our_moves: int

    @property
    def word(self):
        if self.rule is None:
            return "unclean"
        for rule, ours in zip(self.rule, self.ours, strict=True):
            if abs(rule - ours) > TOLERANCE:
                return "better" if ours < rule else "worse"
        return "equal"


def compare(seed):
    """Both on the cloud of this seed."""
    cloud = random_cloud(seed)
    checked = rules.checked({}, REGISTRY.strategy(NAME).parameters_schema)
    moves = Rule(cloud.snapshot, cloud.metrics).run()
    by_rule = planned_as(cloud.snapshot, moves)
    solution, ours = run(NAME, cloud.snapshot, cloud.metrics, {}, seed)

    def measured(steps):
        return SUBJECTS[NAME].measure(*carried_out(cloud.snapshot, cloud.metrics, steps), checked)

    unclean = verify(cloud.snapshot, by_rule) or breaks_soft_group(cloud.snapshot, moves)
    return Outcome(
        rule=None if unclean else measured(by_rule),
        ours=measured(ours),
        rule_moves=len(moves),
        our_moves=solution.count("migrate"),
    )


def planned_as(snapshot, moves):
    """The rule's moves as a plan, one after the other, with its enable actions first (B-106)."""
    steps = []

    def add(action_type, resource_id, **inputs):
        action = ProposedAction(
            action_type=action_type,
            input_parameters={**inputs, "resource_id": resource_id},
            resource_id=resource_id,
        )
        parents = (len(steps) - 1,) if steps else ()
        steps.append(PlannedAction(index=len(steps), action=action, parents=parents))

    for host in sorted({host for host in moves.values() if not snapshot.host_enabled[host]}):
        name = snapshot.host_name[host]
        add(
            "change_nova_service_state",
            snapshot.host_uuid[host],
            state="enabled",
            resource_name=name,
        )
    for server, host in moves.items():
        add(
            "migrate",
            snapshot.uuid_of(server),
            migration_type="live" if snapshot.server_state[server] in LIVE else "cold",
            source_node=snapshot.host_name[int(snapshot.server_host[server])],
            destination_node=snapshot.host_name[host],
        )
    return steps


def breaks_soft_group(snapshot, moves):
    """Whether the moves put members of a soft group where the group's rule likes them less."""
    index = {snapshot.uuid_of(i): i for i in range(snapshot.n_servers)}
    for group in snapshot.groups:
        if not group.policy.startswith("soft"):
            continue
        members = [index[uuid] for uuid in group.members if uuid in index]
        before, after = defaultdict(int), defaultdict(int)
        for server in members:
            before[int(snapshot.server_host[server])] += 1
            after[moves.get(server, int(snapshot.server_host[server]))] += 1
        if group.policy == "soft-affinity":
            if len(after) > len(before):
                return True
        elif any(n > max(1, before[host]) for host, n in after.items()):
            return True
    return False


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs", type=int, default=2000)
    options.add_argument("--first-seed", type=int, default=0)
    asked = options.parse_args()
    words, moves = Counter(), np.zeros(2, dtype=int)
    for seed in range(asked.first_seed, asked.first_seed + asked.pairs):
        outcome = compare(seed)
        word = outcome.word
        if word == "worse" and not outcome.our_moves:
            word = "worse, at rest"
        words[word] += 1
        if word.startswith("worse"):
            print(seed, outcome, flush=True)
        if word == "equal":
            moves += outcome.rule_moves, outcome.our_moves
    print(dict(words), "moves where equal, rule and ours:", moves.tolist())
    return int("worse" in words)


if __name__ == "__main__":
    sys.exit(main())
