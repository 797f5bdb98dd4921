"""`make bench`: every figure beside its target and the peer's, one table, and JSON in build/.

Exit code 1 when a target is missed, 2 when a figure is void. Wall times count only on a machine that
is quiet: above a load of 1.5 they are shown, and said to be not judged.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import bench_large
import bench_model
import bench_rest
import bench_scoring
import bench_system
import structlog
from bench_model import Figure

RANGES = tomllib.loads((Path(__file__).parent / "bench.toml").read_text())
QUIET_LOAD = 1.5
PARTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "notifications": lambda: bench_model.notification_figures(RANGES["notifications"]),
    "snapshot": bench_model.snapshot_figures,
    "growth": lambda: bench_large.growth_figures(RANGES["growth"]),
    "collector": lambda: bench_large.collector_figures(RANGES["growth"]),
    "build": bench_model.build_figures,
    "strategies": lambda: bench_model.strategy_figures(RANGES["strategies"]),
    "planner": bench_model.planner_figures,
    "receipt": bench_model.receipt_figures,
    "statements": lambda: bench_rest.statement_figures(RANGES["rest"]),
    "scoring": lambda: bench_scoring.scoring_figures(RANGES["scoring"]),
    "system": lambda: bench_system.system_figures(RANGES),
}


def verdict(row: dict, figure: Figure | None, load: float) -> str:
    """ok, MISSED, VOID, or why it is not judged."""
    if figure is None:
        return "not run"
    if figure.void:
        return f"VOID: {figure.void}"
    value = figure.value
    good = value >= row["min"] if "min" in row else value <= row["max"]
    if good:
        return "ok"
    return "not judged, busy" if row.get("is_wall") and load > QUIET_LOAD else "MISSED"


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def lines_of(figures: dict[str, Figure], loads: dict[str, float]) -> list[list[str]]:
    lines = []
    for row in RANGES["rows"]:
        figure = figures.get(row["key"])
        unit = f" {row['unit']}" if "unit" in row else ""
        target = f"≥ {row['min']:,}" if "min" in row else f"≤ {row['max']}"
        lines.append(
            [
                row["title"],
                number(figure.value) + unit if figure else "-",
                target + unit,
                row["peer"] + (unit if row["peer"] != "-" else ""),
                verdict(row, figure, loads.get(row["key"], 0.0)),
                figure.load if figure else "",
            ]
        )
    return lines


def as_markdown(lines: list[list[str]]) -> str:
    head = ["what", "Trimtab", "target", "Watcher 17.0.0", "", "load"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * 6, *lines))


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}, with commas between")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    wanted = options.only.split(",") if options.only else list(PARTS)
    figures: dict[str, Figure] = {}
    loads: dict[str, float] = {}
    began = time.monotonic()
    for name in wanted:
        for figure in PARTS[name]():
            figures[figure.key] = figure
            loads[figure.key] = os.getloadavg()[0]
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    lines = lines_of(figures, loads)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"\n{machine()}; {when}; load average {os.getloadavg()[0]:.1f}\n")
    print(as_markdown(lines))
    options.out.parent.mkdir(exist_ok=True)
    document = {
        "machine": machine(),
        "at": when,
        "load_average": os.getloadavg(),
        "figures": {
            f.key: {"value": f.value, "load": f.load, "void": f.void} for f in figures.values()
        },
        "verdicts": {row["key"]: line[4] for row, line in zip(RANGES["rows"], lines, strict=True)},
    }
    options.out.write_text(json.dumps(document, indent=1))
    verdicts = [line[4] for line in lines]
    if any(word.startswith("VOID") for word in verdicts):
        return 2
    return 1 if "MISSED" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
