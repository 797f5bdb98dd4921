"""The commands of the published instances, on small ones of our own; repairs and fragments."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.perf import btrplace_checker, btrplace_instances, fragment
from tests.perf.instance_builders import write_btrplace, write_fragments, write_roadef
from trimtab_decision.optimizer.defragmenting import defragment, in_order, lower_bound
from trimtab_decision.optimizer.repairing import repair

ROOT = Path(__file__).parents[3]
ANSWER = {"cost", "bound", "violations", "moves", "cpu_s", "seed"}


def printed(module, *arguments):
    command = [sys.executable, "-m", f"tests.perf.{module}", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_each_command_prints_one_object_with_no_violation(tmp_path):
    files = {
        "roadef": [*write_roadef(tmp_path, 1), "--moves", 200_000, "--threads", 2, "--seed", 3],
        "btrplace": [write_btrplace(tmp_path, 1), "--seed", 3],
        "fragment": [write_fragments(tmp_path, 1), "--moves", 4, "--tries", 30_000, "--seed", 3],
    }
    for module, arguments in files.items():
        answer = printed(module, *arguments)
        assert answer.keys() >= ANSWER
        assert answer["violations"] == 0
        assert answer["seed"] == 3
        assert answer["moves"] > 0
        assert answer["cost"] >= answer["bound"]


@pytest.mark.parametrize("seed", range(8))
def test_a_repair_breaks_nothing_at_any_step(tmp_path, seed):
    instance = btrplace_instances.read_instance(write_btrplace(tmp_path, seed))
    assert btrplace_checker.violations(instance, [])
    found = repair(btrplace_instances.problem_of(instance))
    moves = [(instance.vms[vm], instance.nodes[node]) for vm, node in found.moves]
    assert found.unplaced == ()
    assert btrplace_checker.violations(instance, moves) == []
    assert found.bound <= found.migrations <= found.bound + 2


def test_the_replay_finds_what_a_bad_plan_breaks(tmp_path):
    instance = btrplace_instances.read_instance(write_btrplace(tmp_path, 3))
    spread = next(one for one in instance.document["constraints"] if one["id"] == "spread")
    online = instance.document["model"]["mapping"]["onlineNodes"]
    first, second = spread["vms"][:2]
    node = next(int(n) for n, held in online.items() if second in held["runningVMs"])
    far = max(instance.nodes) if node < 10 else 1
    plan = [(first, node), (first, node), (second, 0), (second, far)]
    found = " ".join(btrplace_checker.violations(instance, plan))
    for text in (
        "meet on node",
        "moves twice",
        "cannot go to node",
        "leaves the part",
        "does not run",
    ):
        assert text in found
    crowd = [(vm, 5) for vm in range(50, 75)]
    found = " ".join(btrplace_checker.violations(instance, crowd))
    assert "arrives" in found
    assert "in the end" in found


def test_what_has_no_place_is_named_with_its_reason(tmp_path):
    problem = btrplace_instances.problem_of(
        btrplace_instances.read_instance(write_btrplace(tmp_path, 0))
    )
    problem.demand[0] = 1_000.0
    assert (0, "no room") in repair(problem).unplaced


def test_an_unknown_constraint_is_refused(tmp_path):
    path = write_btrplace(tmp_path, 0)
    document = json.loads(path.read_text())
    document["constraints"].append({"id": "lonely", "vms": [1]})
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="lonely"):
        btrplace_instances.read_instance(path)


@pytest.mark.parametrize("seed", range(8))
def test_fragments_become_fewer_within_the_moves_allowed(tmp_path, seed):
    clusters = fragment.read_clusters(write_fragments(tmp_path, seed))
    problem = fragment.problem_of(clusters)
    before = problem.fragments()
    found = defragment(problem, max_moves=5, seed=seed, tries=150_000)
    rate, broken = fragment.replayed(clusters, list(found.moves), 5)
    assert broken == []
    assert rate == pytest.approx(found.fragments / int(problem.cores.sum()))
    assert found.fragments < before
    assert found.fragments >= lower_bound(problem, 5) == found.bound
    again = defragment(problem, max_moves=5, seed=seed, tries=150_000)
    assert again.moves == found.moves


def test_moves_that_wait_for_each_other_are_left_out(tmp_path):
    clusters = fragment.read_clusters(write_fragments(tmp_path, 0))
    problem = fragment.problem_of(clusters)
    single = np.flatnonzero(~problem.is_double)
    a = int(single[0])
    b = next(int(s) for s in single if problem.place[s] // 2 != problem.place[a] // 2)
    problem.cores[:] = 0
    target = problem.place.copy()
    target[a], target[b] = problem.place[b], problem.place[a]
    assert in_order(problem, target) == ()


def test_the_replay_of_fragments_finds_bad_moves(tmp_path):
    clusters = fragment.read_clusters(write_fragments(tmp_path, 0))
    problem = fragment.problem_of(clusters)
    home = int(problem.place[0])
    _, broken = fragment.replayed(clusters, [(0, home), (0, home)], 1)
    assert any("2 moves of 1" in one for one in broken)
    assert any("may not move" in one for one in broken)
    everything = [(server, 0) for server in range(2, len(clusters["servers"]))]
    _, broken = fragment.replayed(clusters, everything, 1_000)
    assert any("no room" in one for one in broken)
