"""The same work by OpenStack Watcher and by Trimtab, one after the other on this machine: ratios of CPU seconds.

    make bench-beside PEER=/path/to/venv TRIMTAB_REFERENCE=/path/to/reference

PEER is a virtual environment outside this checkout with `pip install python-watcher==17.0.0`; the reference folder
holds `peer/bench_watcher.py` and the generator whose cluster files both sides read. Nothing of either is kept here.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
from bench_model import cpu_of

from trimtab_api import data_model
from trimtab_collector.live_model import LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import UpsertServer, host_rows, server_rows
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.scope import scoped
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.wire.cluster_file import load_cluster_file
from trimtab_decision.simulate import simulate

SIZES = ((100, 2_000), (1_000, 20_000))
STRATEGIES = {
    "vm_workload_consolidation": ("vm_workload_consolidation", "server_consolidation"),
    "workload_stabilization/retry1": ("workload_stabilization", "workload_balancing"),
}


def watcher(peer: Path, reference: Path, cluster: Path, events: Path, timeout_s: float) -> dict:
    """What bench_watcher.py finds; a strategy that does not end within the time is cut off."""
    out = cluster.with_suffix(".watcher.json")
    command = [
        str(peer / "bin" / "python"),
        str(reference / "peer" / "bench_watcher.py"),
        str(cluster),
    ]
    command += ["--events", str(events), "--timeout", str(timeout_s)]
    command += ["--events-limit", str(timeout_s), "-o", str(out)]
    command += ["--only", ",".join(STRATEGIES)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=3600)
    return json.loads(out.read_text())


def enveloped(events: Path) -> list[bytes]:
    """The generator's events as they come from the bus."""
    bodies = []
    for number, line in enumerate(events.read_text().splitlines()):
        event = json.loads(line)
        if event["payload"]["nova_object.name"] == "InstanceUpdatePayload":
            event["payload"]["nova_object.version"] = "2.0"
        message = event | {
            "priority": "INFO",
            "message_id": f"{number:032x}",
            "timestamp": f"2026-09-01 {number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000000",
        }
        bodies.append(
            json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()
        )
    return bodies


def trimtab(cluster: Path, events: Path) -> dict:
    """The same by our own classes."""
    snapshot, metrics = load_cluster_file(cluster)
    hosts, servers = host_rows(snapshot), server_rows(snapshot)
    live = LiveModel(SystemClock())
    live.model = ComputeModel.from_rows(hosts, servers, epoch="beside")
    live.mark_built()
    found: dict = {}
    rows = list(map(UpsertServer, servers))
    found["build"], _ = cpu_of(lambda: ComputeModel.from_rows(hosts, [row.row for row in rows]))

    def again():
        live.model.move_to(revision=live.model.revision + 1, at=datetime.now(UTC))
        return live.snapshot()

    found["snapshot"], _ = cpu_of(again, 5)
    kept = min(100, snapshot.n_hosts // 2)
    names = [{"name": name} for name in snapshot.host_name[kept:]]
    rules = [{"compute": [{"exclude": [{"compute_nodes": names}]}]}]
    found["scope"], _ = cpu_of(lambda: scoped(snapshot, rules))
    name = snapshot.host_name[-1]
    found["by_name"], _ = cpu_of(lambda: [live.model.find_host(name) for _ in range(200)])
    found["json"], _ = cpu_of(lambda: data_model.body(snapshot, with_extended=False))
    inbox = Inbox(live, SystemClock())
    inbox.connected()
    bodies = enveloped(events)
    before = live.model.revision
    gc.collect()
    began = time.process_time()
    for at in range(0, len(bodies), 50):
        inbox.receive(bodies[at : at + 50])
    spent = time.process_time() - began
    found["events_per_s"] = len(bodies) / spent
    found["events_changed"] = live.model.revision - before
    for label, (strategy, goal) in STRATEGIES.items():
        report = None
        best = float("inf")
        for _ in range(2):  # the first one warms
            report = simulate(snapshot, metrics, goal, strategy)
            best = min(best, report.cpu_s)
        found[label] = {
            "cpu": best,
            "moves": report.migrations,
            "hosts_in_use": report.hosts_in_use_after,
            "sd": report.cpu_load_sd_after,
        }
    return found


def seconds(measured: dict) -> float:
    return measured["user"] + measured["sys"]


def table(theirs: dict, ours: dict) -> list[list[str]]:
    """what, Watcher, Trimtab, ratio."""
    show, lookup = theirs["show"], theirs["lookup"]
    pairs = [
        ("model from rows", seconds(theirs["build"]), ours["build"]),
        (
            "isolated copy for one audit",
            seconds(show["get_latest_cluster_data_model"]),
            ours["snapshot"],
        ),
        ("host by name, 200 times", seconds(lookup["get_node_by_name_x200"]), ours["by_name"]),
        ("list as JSON", seconds(show["to_list"]) + seconds(show["to_list_json"]), ours["json"]),
    ]
    lines = [[what, f"{a:.4g} s", f"{b:.4g} s", f"{a / b:,.0f}"] for what, a, b in pairs if b]
    rate = theirs["events"]["per_second_cpu"]
    lines.append(
        [
            "notifications a CPU second",
            f"{rate:,.0f}",
            f"{ours['events_per_s']:,.0f}",
            f"{ours['events_per_s'] / rate:,.0f}",
        ]
    )
    for case in theirs["strategies"]:
        mine = ours.get(case["strategy"])
        if mine is None:
            continue
        is_cut = "do_execute" not in case
        spent = case["cpu"] if is_cut else seconds(case["do_execute"])
        result = f"{mine['moves']} moves, {mine['hosts_in_use']} hosts, sd {mine['sd']:.3f}"
        after = case.get("after")
        if after:
            result += (
                f" (Watcher: {after['instances_moved']} moves, {after['active_hosts']} hosts,"
                f" sd {after['sd_cpu_load']}, {after['hosts_over_capacity']} over capacity)"
            )
        more = ">" if is_cut else ""
        line = [case["strategy"], f"{more}{spent:.4g} s", f"{mine['cpu']:.4g} s"]
        lines.append([*line, f"{more}{spent / mine['cpu']:,.0f}; {result}"])
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer", type=Path, required=True, help="a venv with python-watcher 17.0.0"
    )
    parser.add_argument("--reference", type=Path, default=os.environ.get("TRIMTAB_REFERENCE"))
    parser.add_argument(
        "--timeout", type=float, default=60.0, help="CPU seconds a strategy may take"
    )
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path, default=Path("build/beside.json"))
    options = parser.parse_args()
    if options.reference is None:
        parser.error("name the reference folder: --reference or TRIMTAB_REFERENCE")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    kept = {}
    with tempfile.TemporaryDirectory(prefix="trimtab-beside-") as folder:
        for n_hosts, n_servers in SIZES:
            cluster, events = Path(folder) / f"c{n_hosts}.json", Path(folder) / f"e{n_hosts}.jsonl"
            command = [sys.executable, str(options.reference / "peer" / "gen_cluster.py")]
            command += ["--nodes", str(n_hosts), "--instances", str(n_servers)]
            command += ["--seed", str(options.seed), "-o", str(cluster)]
            command += ["--events", "3000", "--events-out", str(events)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
            theirs = watcher(options.peer, options.reference, cluster, events, options.timeout)
            ours = trimtab(cluster, events)
            lines = table(theirs, ours)
            kept[f"{n_hosts}/{n_servers}"] = {"trimtab": ours, "lines": lines}
            print(
                f"\n{n_hosts} hosts, {n_servers} servers; load average {os.getloadavg()[0]:.1f}\n"
            )
            for cells in (["what", "Watcher 17.0.0", "Trimtab", "ratio"], ["---"] * 4, *lines):
                print("| " + " | ".join(cells) + " |", flush=True)
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(kept, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
