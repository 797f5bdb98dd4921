"""`trimtab simulate`: limits, comparison and explanations, on a cluster file."""

import json

import pytest
from click.testing import CliRunner

from trimtab_cli.main import main


def node(number, **fields):
    return {
        "uuid": f"00000000-0000-4000-8000-00000000000{number}",
        "hostname": f"h{number}",
        "vcpus": 16,
        "memory_mb": 65536,
        "disk_gb": 1000,
        "power_state": "on",
        **fields,
    }


def instance(number, host, vcpus=2):
    return {
        "uuid": f"00000000-0000-4000-8000-0000000001{number:02}",
        "name": f"s{number}",
        "vcpus": vcpus,
        "memory_mb": 2048,
        "disk_gb": 10,
        "host": host,
        "metrics": {"instance_cpu_usage": 50},
    }


@pytest.fixture
def file(tmp_path):
    nodes = [node(n) for n in range(1, 6)]
    instances = [instance(1, "h1"), instance(2, "h2"), instance(3, "h3", 8), instance(4, "h2")]
    path = tmp_path / "cluster.json"
    path.write_text(
        json.dumps({"format": "peer-cluster/1", "nodes": nodes, "instances": instances})
    )
    return path


def simulate(file, *arguments):
    result = CliRunner().invoke(main, ["simulate", "--cluster", str(file), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def consolidation(file, *arguments):
    goal = ["--goal", "server_consolidation", "-s", "basic", "-o", "json"]
    return json.loads(simulate(file, *goal, *arguments))


def test_a_limit_on_migrations_is_kept(file):
    assert consolidation(file)["migrations"] == 3
    assert consolidation(file, "--max-migrations", "1")["migrations"] == 1
    assert consolidation(file, "--max-migrations", "0")["actions"] == 0


def test_an_explanation_tells_bound_cost_and_each_reason(file):
    why = consolidation(file, "--explain")["explanation"]
    assert why["bound"] == 1
    assert why["gap_pct"] == 0
    assert why["cost"] == {"migrations": 3, "memory_mib": 3 * 2048}
    assert all(move["reason"] for move in why["moves"])
    assert any("can be emptied" in move["reason"] for move in why["moves"])


def test_an_empty_plan_is_explained(file):
    why = consolidation(file, "--explain", "--max-migrations", "0")["explanation"]
    assert why["moves"] == []
    assert why["messages"]


def test_the_explanation_is_readable(file):
    text = simulate(file, "--goal", "server_consolidation", "-s", "basic", "--explain")
    assert "why" in text
    assert "migrate s4 h2 -> h1" in text


def test_strategies_are_compared_side_by_side(file):
    names = "basic,vm_workload_consolidation,node_resource_consolidation"
    arguments = ["--goal", "server_consolidation", "--compare", names]
    rows = json.loads(simulate(file, *arguments, "-o", "json"))["comparison"]
    assert [row["strategy"] for row in rows] == names.split(",")
    assert all(row["violations"] == 0 and row["efficacy"] for row in rows)
    assert "vm_workload_consolidation" in simulate(file, *arguments)


def test_a_strategy_that_cannot_run_here_says_why_in_its_row(file):
    arguments = [
        "--goal",
        "workload_balancing",
        "--compare",
        "workload_balance,dummy",
        "-o",
        "json",
    ]
    rows = json.loads(simulate(file, *arguments))["comparison"]
    assert rows[0]["problem"] is None
    assert "does not serve the goal" in rows[1]["problem"]


def test_machines_of_the_file_can_be_switched(file):
    report = json.loads(simulate(file, "--goal", "saving_energy", "-o", "json"))
    assert [move["action_type"] for move in report["moves"]] == ["change_node_power_state"]


def test_compare_and_strategy_exclude_each_other(file):
    arguments = ["simulate", "--cluster", str(file), "-g", "dummy", "-s", "dummy", "--compare", "x"]
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_an_unreadable_file_is_named(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{")
    result = CliRunner().invoke(main, ["simulate", "--cluster", str(path), "-g", "dummy"])
    assert result.exit_code == 1
    assert "broken.json: Not JSON" in result.output


def test_the_curve_shows_what_each_migration_buys(file):
    points = consolidation(file, "--pareto")["pareto"]
    assert [point["migrations"] for point in points] == sorted(
        point["migrations"] for point in points
    )
    assert points[-1]["max_migrations"] == 3
    assert [point["hosts_freed"] for point in points] == [1, 2, 2]
    assert [point["is_worth_it"] for point in points] == [True, True, False]
    assert all(point["value"] >= point["bound"] for point in points)
    assert all(point["violations"] == 0 for point in points)
    text = simulate(file, "--goal", "server_consolidation", "-s", "basic", "--pareto")
    assert "hosts_freed" in text


def test_a_strategy_without_a_budget_has_no_curve(file):
    arguments = ["simulate", "--cluster", str(file), "--goal", "dummy", "-s", "dummy", "--pareto"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "no parameter max_migrations" in result.output


def test_what_if_a_host_is_drained(file):
    report = consolidation(file, "--drain", "h2")
    (told,) = report["what_if"]
    assert (told["edit"], told["host"], told["servers"], told["placed"]) == ("drain", "h2", 2, 2)
    touched = {move["input_parameters"].get("destination_node") for move in report["moves"]}
    assert "h2" not in touched


def test_what_if_there_is_a_host_more(file):
    before = consolidation(file)["hosts_in_use_after"]
    report = consolidation(file, "--add-host", "h9:h1", "--add-host", "h8")
    assert [told["host"] for told in report["what_if"]] == ["h9", "h8"]
    assert report["hosts_in_use_after"] <= before


def test_what_if_a_rack_is_lost(tmp_path):
    nodes = [node(n, zone="east" if n > 2 else "west") for n in range(1, 4)]
    instances = [instance(n, "h3", 12) for n in (1,)] + [
        instance(n + 1, f"h{n}", 12) for n in (1, 2)
    ]
    path = tmp_path / "racks.json"
    path.write_text(
        json.dumps({"format": "peer-cluster/1", "nodes": nodes, "instances": instances})
    )
    result = CliRunner().invoke(
        main,
        [
            "simulate",
            "--cluster",
            str(path),
            "--goal",
            "server_consolidation",
            "-s",
            "basic",
            "--lose-rack",
            "nowhere",
        ],
    )
    assert result.exit_code == 1
    assert "There is no rack nowhere" in result.output


def test_the_planner_is_chosen_and_tells_how_long_the_plan_takes(file):
    report = consolidation(file, "--planner", "critical_path")
    assert report["violations"] == 0
    assert report["stats"]["makespan_s"] >= report["stats"]["makespan_bound_s"] > 0
