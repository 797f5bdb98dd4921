"""`make bench-strategies`: every strategy on fresh clusters of the reference's generator, and by Watcher too.

For each size and seed a cluster file is written, read and planned on by every strategy, each in a process of its own
(so that the memory is its own): CPU seconds, peak memory, actions, efficacy, violations. What a plan is worth is
counted from the cluster file and the actions alone, by the same code for Trimtab's plans and for Watcher's.
With PEER, a venv with python-watcher 17.0.0, the reference's `peer/bench_watcher.py` plans on the same files, and a second
table compares both by the strategy's own measure, cluster by cluster.
Exit code 1 when a plan of ours has a violation, or is worse than a plan of Watcher's that has none.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from own_measures import Question, checked, measure_of, verdict, watchers_plan
from synthetic_clouds import synthetic_cloud

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.wire.cluster_file import load_cluster_file, load_machines
from trimtab_decision.plugins import load_registry
from trimtab_decision.simulate import hosts_after, simulate

Row = dict
WORDS = {
    "better": "better",
    "equal": "as good",
    "worse": "WORSE",
    "unclean": "beside one that breaks rules",
    "none": "alone",
}


@dataclass(frozen=True)
class Case:
    """A strategy with parameters. `label`: what bench_watcher.py calls the same case."""

    label: str
    goal: str
    strategy: str
    parameters: dict


def cases(snapshot) -> list[Case]:
    """All that a cluster file has the data for, with the parameters of bench_watcher.py."""
    counts = np.bincount(snapshot.server_host, minlength=snapshot.n_hosts)
    names = np.array(snapshot.host_name)
    hot = min(names[counts == counts.max()])
    in_use = sorted(names[counts > 0])
    tenth = [{"src_node": str(name)} for name in in_use[: max(1, snapshot.n_hosts // 10)]]
    unlimited = {"parallel_total": 10**6, "parallel_per_node": 10**6}
    consolidation, balancing = "server_consolidation", "workload_balancing"
    nrc, hardware = "node_resource_consolidation", "hardware_maintenance"
    return [
        Case("basic", consolidation, "basic", {}),
        Case("vm_workload_consolidation", consolidation, "vm_workload_consolidation", {}),
        Case(f"{nrc}/auto", consolidation, nrc, {"host_choice": "auto"}),
        Case(f"{nrc}/specify", consolidation, nrc, {"host_choice": "specify"}),
        Case("workload_stabilization/retry1", balancing, "workload_stabilization", {}),
        Case("workload_balance", balancing, "workload_balance", {}),
        Case(
            "host_maintenance",
            "cluster_maintaining",
            "host_maintenance",
            {"maintenance_node": str(hot)},
        ),
        Case("zone_migration/default_limits", hardware, "zone_migration", {"compute_nodes": tenth}),
        Case(
            "zone_migration/unlimited",
            hardware,
            "zone_migration",
            {"compute_nodes": tenth, **unlimited},
        ),
        Case("saving_energy", "saving_energy", "saving_energy", {}),
        Case("noisy_neighbor/fixed_datasource_call", "noisy_neighbor", "noisy_neighbor", {}),
        Case("outlet_temperature", "thermal_optimization", "outlet_temperature", {}),
        Case("uniform_airflow", "airflow_optimization", "uniform_airflow", {}),
        Case("dummy", "dummy", "dummy", {}),
    ]


def worth(snapshot, metrics, host) -> Row:
    """What a placement is worth, as bench_watcher.py counts it for Watcher's."""
    used = np.zeros(snapshot.host_inventory.shape)
    np.add.at(used, host, snapshot.server_demand)
    cores = snapshot.server_demand[:, 0] * metrics.server["instance_cpu_usage"] / 100
    load = np.bincount(host, weights=cores, minlength=snapshot.n_hosts)
    load = (load / snapshot.host_inventory[:, 0])[snapshot.host_up & snapshot.host_enabled]
    return {
        "active_hosts": len(np.unique(host)),
        "sd_cpu_load": round(float(load.std()), 5),
        "max_cpu_load": round(float(load.max()), 4),
        "hosts_over_capacity": int((used > snapshot.capacity() + 1e-6).any(axis=1).sum()),
        "instances_moved": int((host != snapshot.server_host).sum()),
    }


def in_child(work) -> Row:
    """What `work` returns, from a forked process."""
    inlet, outlet = os.pipe()
    child = os.fork()
    if not child:
        try:
            found = work()
        except TrimtabError as error:
            found = {"refused": error.message}
        with os.fdopen(outlet, "wb") as pipe:
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(outlet)
    with os.fdopen(inlet, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        raise RuntimeError(f"a strategy's process ended with status {status}")
    return pickle.loads(data)


def ours(case: Case, cloud, seed: int) -> Row:
    """One plan of Trimtab's."""
    snapshot, metrics, machines = cloud
    report = simulate(
        snapshot,
        metrics,
        case.goal,
        case.strategy,
        parameters=case.parameters,
        seed=seed,
        baremetal=machines,
    )
    document = report.as_dict()
    measure = measure_of(case.strategy, case.parameters)
    kept = ("cpu_s", "peak_mib", "actions", "migrations", "efficacy", "violations", "messages")
    return {
        **{name: document[name] for name in kept},
        **{name: report.solution.stats.get(name) for name in ("bound_of", "bound", "gap_pct")},
        "after": worth(snapshot, metrics, hosts_after(snapshot, report.planned)),
        "measure": measure and measure.words,
        "own": measure and measure.of(question(case, cloud), report.planned),
    }


def question(case: Case, cloud) -> Question:
    """What a plan for this case is measured by."""
    given = checked(load_registry(), case.strategy, case.parameters)
    return Question(strategy=case.strategy, cloud=cloud, given=given)


def judged(case: Case, cloud, theirs: Row | None) -> Row | None:
    """Watcher's row with its own measure and its violations instead of its plan."""
    actions = (theirs or {}).get("after", {}).pop("plan", None)
    measure = measure_of(case.strategy, case.parameters)
    if actions is None or measure is None:
        return theirs
    planned, violations = watchers_plan(cloud[0], actions, load_registry(), case.strategy)
    return {
        **theirs,
        "violations": dict(violations),
        "own": measure.of(question(case, cloud), planned),
    }


def warm_up() -> None:
    """Every import that a strategy makes late, so that its CPU seconds are those of a warm process."""
    snapshot, metrics = synthetic_cloud(10, 60, 1)
    for case in cases(snapshot):
        try:
            simulate(snapshot, metrics, case.goal, case.strategy, parameters=case.parameters)
        except TrimtabError:
            continue  # it has no data in this cloud


def watchers(options, cluster: Path, size: tuple[int, int]) -> dict[str, Row]:
    """What Watcher plans on the same file, by label; a strategy that takes too long is cut off."""
    if options.peer is None or size not in options.peer_sizes:
        return {}
    out = cluster.with_suffix(".watcher.json")
    program = [
        str(Path(__file__).parent / "watcher_plans.py"),
        str(options.reference / "peer" / "bench_watcher.py"),
    ]
    command = [str(options.peer / "bin" / "python"), *program, str(cluster), "-o", str(out)]
    command += ["--sections", "build,strategies", "--no-planner", "--timeout", str(options.timeout)]
    command += ["--skip", "workload_stabilization/fullsearch,noisy_neighbor/as_shipped"]
    command += ["--only", ",".join(options.only)] if options.only else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {row["strategy"]: row for row in json.loads(out.read_text())["strategies"]}


def rows(options) -> Iterator[Row]:
    """One for each size, seed and strategy."""
    generator = options.reference / "peer" / "gen_cluster.py"
    with tempfile.TemporaryDirectory(prefix="trimtab-strategies-") as folder:
        cluster, packed = Path(folder) / "cluster.json", Path(folder) / "cloud"
        for size in options.sizes:
            for seed in options.seeds:
                command = [sys.executable, str(generator), "--nodes", str(size[0])]
                command += ["--instances", str(size[1]), "--seed", str(seed), "-o", str(cluster)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                in_child(
                    lambda: packed.write_bytes(pickle.dumps(_read(cluster)))
                )  # reading needs more memory
                cloud = pickle.loads(packed.read_bytes())
                theirs = watchers(options, cluster, size)
                for case in cases(cloud[0]):
                    if options.only and case.strategy not in options.only:
                        continue
                    row = {"hosts": size[0], "servers": size[1], "seed": seed, "case": case.label}
                    row["before"] = worth(cloud[0], cloud[1], cloud[0].server_host)
                    found = in_child(partial(ours, case, cloud, seed))
                    peer = in_child(partial(judged, case, cloud, theirs.get(case.label)))
                    yield {**row, "trimtab": found, "watcher": peer}


def _read(cluster: Path):
    return *load_cluster_file(cluster), load_machines(cluster)


def span(values, digits: int = 0) -> str:
    """The least and the most, or the one there is."""
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    low, high = f"{min(found):,.{digits}f}", f"{max(found):,.{digits}f}"
    return low if low == high else f"{low}-{high}"


def as_markdown(found: list[Row]) -> Iterator[str]:
    """One table a size; each cell from the least to the most of all seeds."""
    for size in dict.fromkeys((row["hosts"], row["servers"]) for row in found):
        some = [row for row in found if (row["hosts"], row["servers"]) == size]
        seeds = sorted({row["seed"] for row in some})
        yield f"\n### {size[0]:,} hosts, {size[1]:,} servers; seeds {', '.join(map(str, seeds))}\n"
        head = ["strategy", "CPU s", "peak MiB", "actions", "moves", "efficacy", "hosts in use"]
        head += ["sd of cpu load", "bound, gap %", "violations"]
        head += ["Watcher: CPU s", "moves", "hosts", "sd", "over capacity"]
        for cells in (head, ["---"] * len(head)):
            yield "| " + " | ".join(cells) + " |"
        for label in dict.fromkeys(row["case"] for row in some):
            yield "| " + " | ".join(_cells([r for r in some if r["case"] == label])) + " |"


def _cells(some: list[Row]) -> list[str]:
    good = [row["trimtab"] for row in some if "refused" not in row["trimtab"]]
    label = some[0]["case"]
    if not good:
        return [label, some[0]["trimtab"]["refused"], *["-"] * 13]
    efficacy = [one["efficacy"][0]["value"] if one["efficacy"] else None for one in good]
    name = good[0]["efficacy"][0]["name"] if good[0]["efficacy"] else ""
    before = [row["before"] for row in some]
    after = [one["after"] for one in good]
    bound = span([one["bound"] for one in good], 3 if label.startswith("workload_stab") else 0)
    gap = span([one["gap_pct"] for one in good], 1)
    ours = [
        label,
        span([one["cpu_s"] for one in good], 3),
        span([one["peak_mib"] for one in good]),
        span([one["actions"] for one in good]),
        span([one["migrations"] for one in good]),
        f"{name} {span(efficacy, 3)}".strip(),
        f"{span([b['active_hosts'] for b in before])} → {span([a['active_hosts'] for a in after])}",
        f"{span([b['sd_cpu_load'] for b in before], 3)} → {span([a['sd_cpu_load'] for a in after], 3)}",
        "-" if bound == "-" else f"{bound}, {gap}",
        str(sum(one["violations"] for one in good)),
    ]
    theirs = [row["watcher"] for row in some if row["watcher"]]
    return ours + _watchers_cells(theirs)


def _watchers_cells(theirs: list[Row]) -> list[str]:
    if not theirs:
        return ["-"] * 5
    if any("error" in one for one in theirs):
        return [next(one["error"] for one in theirs if "error" in one)[:60], *["-"] * 4]
    ended = [one for one in theirs if "do_execute" in one]
    spent = [one["do_execute"]["user"] + one["do_execute"]["sys"] for one in ended]
    cut = [one["cpu"] for one in theirs if "do_execute" not in one]
    told = span(spent, 3) + (f"; >{max(cut):.0f} ({len(cut)} of {len(theirs)})" if cut else "")
    after = [one["after"] for one in ended]
    return [
        told.removeprefix("-; "),
        span([a["instances_moved"] for a in after]),
        span([a["active_hosts"] for a in after]),
        span([a["sd_cpu_load"] for a in after], 3),
        span([a["hosts_over_capacity"] for a in after]),
    ]


def compared(row: Row) -> str:
    """The verdict of one cluster."""
    mine, peer = row["trimtab"], row["watcher"] or {}
    if mine.get("own") is None:
        return "none"
    violations = sum(peer.get("violations", {}).values())
    return verdict(tuple(mine["own"]), peer.get("own"), violations)


def comparison(found: list[Row]) -> Iterator[str]:
    """By the strategy's own measure, cluster by cluster: one line for each strategy and size."""
    some = [row for row in found if row["watcher"] is not None and row["trimtab"].get("own")]
    if not some:
        return
    yield "\n### By the strategy's own measure (the smaller the better), cluster by cluster\n"
    head = ["hosts, servers", "strategy", "measure", "Trimtab", "Watcher"]
    head += ["violations of Watcher's plans", "Trimtab's plan is"]
    for cells in (head, ["---"] * len(head)):
        yield "| " + " | ".join(cells) + " |"
    for key in dict.fromkeys((row["hosts"], row["servers"], row["case"]) for row in some):
        rows_ = [row for row in some if (row["hosts"], row["servers"], row["case"]) == key]
        kinds: Counter[str] = Counter()
        for row in rows_:
            kinds.update(row["watcher"].get("violations", {}))
        verdicts = Counter(compared(row) for row in rows_)
        cells = [
            f"{key[0]:,}, {key[1]:,}",
            key[2],
            rows_[0]["trimtab"]["measure"],
            "; ".join(_own(row["trimtab"]) for row in rows_),
            "; ".join(_own(row["watcher"]) for row in rows_),
            ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "0",
            ", ".join(f"{verdicts[w]} {WORDS[w]}" for w in WORDS if verdicts[w]),
        ]
        yield "| " + " | ".join(cells) + " |"


def _own(one: Row) -> str:
    return "-" if one.get("own") is None else " / ".join(f"{value:.4g}" for value in one["own"])


def sizes(text: str) -> list[tuple[int, int]]:
    """25/500,100/2000 as pairs."""
    return [tuple(map(int, pair.split("/"))) for pair in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=sizes, default="25/500,100/2000,1000/20000,10000/200000")
    parser.add_argument("--seeds", default="7001,7002,7003,7004,7005")
    parser.add_argument("--only", help="strategies, with commas between")
    parser.add_argument("--peer", type=Path, help="a venv with python-watcher 17.0.0")
    parser.add_argument("--peer-sizes", type=sizes, default="25/500,100/2000")
    parser.add_argument("--timeout", type=float, default=60.0, help="CPU s a strategy of Watcher's")
    parser.add_argument("--reference", type=Path, default=os.environ.get("TRIMTAB_REFERENCE"))
    parser.add_argument("--out", type=Path, default=Path("build/strategies.json"))
    parser.add_argument("--show", type=Path, help="only print the tables of an earlier --out")
    options = parser.parse_args()
    if options.show is not None:
        found = json.loads(options.show.read_text())
        print("\n".join([*as_markdown(found), *comparison(found)]))
        return 0
    if options.reference is None:
        parser.error("name the reference folder: --reference or TRIMTAB_REFERENCE")
    options.reference = Path(options.reference)
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.only = options.only.split(",") if options.only else []
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    warm_up()
    found = []
    for row in rows(options):
        found.append(row)
        print(row["hosts"], row["seed"], row["case"], file=sys.stderr, flush=True)
        options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1))
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{when}; load average {os.getloadavg()[0]:.1f}")
    print("\n".join([*as_markdown(found), *comparison(found)]))
    broken = any(row["trimtab"].get("violations") for row in found)
    return 1 if broken or any(compared(row) == "worse" for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
