"""The published instances of the reference folder against their targets; part of `make bench`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def printed(module, *arguments):
    command = [sys.executable, "-m", f"tests.perf.{module}", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def instances(reference):
    return reference / "data" / "optimization"


def test_repairs_of_btrplace_reach_their_bound_within_a_second(instances):
    for path in sorted((instances / "btrplace-tdsc").glob("*.json.gz")):
        answer = printed("btrplace", path)
        assert answer["violations"] == 0
        assert answer["cost"] == answer["bound"], path.name
        assert answer["cpu_s"] <= 1.0, path.name


@pytest.mark.parametrize("copies", [1, 4])
def test_fragments_of_bytedance_fall_to_six_tenths_within_three_seconds(instances, copies):
    path = instances / "bytedance-vmr" / "reset_vm_pm_id_clear2.json.xz"
    answer = printed("fragment", path, "--moves", 50, "--copies", copies)
    assert answer["violations"] == 0
    assert answer["cost"] <= 0.60
    assert answer["cpu_s"] <= 3.0


@pytest.mark.parametrize("name", ["a1_5", "a2_3"])
def test_a_reassignment_breaks_no_rule_and_stays_above_its_bound(instances, name):
    folder = instances / "roadef2012"
    files = [folder / f"{kind}_{name}.txt.xz" for kind in ("model", "assignment")]
    answer = printed("roadef", *files, "--seconds", 10, "--cpu", "--threads", 1)
    assert answer["violations"] == 0
    assert answer["bound"] <= answer["cost"] < answer["initial_cost"]
