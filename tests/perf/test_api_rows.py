"""CPU of api a request at 12, 100 and 1,000 audits, on SQLite and MariaDB; part of `make bench`.

The table is printed and kept in build/api-rows.md. The limits are those of bench.toml.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tomllib
from pathlib import Path

import pytest
from bench_system import Door, fill
from processes_watch import exact_cpu_s

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

COUNTS = (12, 100, 1000)
KEPT = Path(__file__).parents[2] / "build" / "api-rows.md"
SPEC = tomllib.loads((Path(__file__).parent / "bench.toml").read_text())
LIMITS = {row["key"]: row["max"] for row in SPEC["rows"] if "max" in row}
POST = next(row["body"] for row in SPEC["rest"] if row["key"] == "post_audit")
ROUNDS = 4


def least_ms(pid: int, count: int, ask) -> float:
    """CPU milliseconds of a request: the least of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = exact_cpu_s(pid)
        for _ in range(count):
            ask()
        best = min(best, (exact_cpu_s(pid) - before) / count * 1000)
    return best


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_the_rows_of_the_api_are_at_target(kind, request, tmp_path):
    database = request.getfixturevalue("mariadb_url") if kind == "mariadb" else None
    spec = SystemSpec(
        state_dir=tmp_path,
        ports=ports.free_row(),
        database=database,
        fakecloud_args=("--hosts", "3", "--servers", "6"),
    )
    lines, over = [], []
    with (
        running(spec, say=lambda _line: None) as system,
        contextlib.closing(Door(system.ports.api_http)) as door,
    ):
        pid = system.child("api").pid
        there = 0
        for count in COUNTS:
            uuids = asyncio.run(fill(system, count - there))
            there = count
            asked = {
                f"GET /v1/audits?limit={count}": (5, "GET", f"/v1/audits?limit={count}", None),
                "GET one audit": (40, "GET", f"/v1/audits/{uuids[0]}", None),
                "GET /v1/goals": (60, "GET", "/v1/goals", None),
                "GET /v1/strategies": (60, "GET", "/v1/strategies", None),
            }
            if count == COUNTS[-1]:  # it adds audits, so it comes last
                asked["POST /v1/audits"] = (20, "POST", "/v1/audits", POST)
            for name, (times, method, path, body) in asked.items():
                ms = least_ms(pid, times, lambda m=method, p=path, b=body: door.ask(m, p, b))
                limit = limit_of(name, count)
                lines.append(f"| {kind} | {count} | {name} | {ms:.2f} | {limit:g} |")
                if ms > limit:
                    over.append(lines[-1])
    keep(kind, lines)
    sys.stdout.write("\n".join(["", *lines, ""]))
    assert not over, over


def limit_of(name: str, count: int) -> float:
    """Of a list: by its length, from the rows at 100 and 1,000."""
    if name.startswith("GET /v1/audits"):
        return float(LIMITS["get_audits_1000" if count > 100 else "get_audits_100"])
    keys = {"GET one audit": "get_audit", "GET /v1/goals": "get_goals"}
    keys |= {"GET /v1/strategies": "get_strategies", "POST /v1/audits": "post_audit"}
    return float(LIMITS[keys[name]])


def keep(kind: str, lines: list[str]) -> None:
    """One table of both databases."""
    KEPT.parent.mkdir(exist_ok=True)
    old = KEPT.read_text().splitlines() if KEPT.exists() else []
    others = [line for line in old if line.startswith("| ") and not line.startswith(f"| {kind} ")]
    rows = [line for line in others if not line.startswith(("| database", "| ---"))] + lines
    head = [
        "| database | audits | request | api CPU ms | limit |",
        "| --- | --- | --- | --- | --- |",
    ]
    KEPT.write_text("\n".join([*head, *rows, ""]))
