"""Requests a second through Envoy and through the ASGI door, with wrk, at 1, 8 and 32 connections.

`make bench-doors`. For each: requests a second, p50, p99, and CPU a request by process. Then py-spy looks where api's
time goes while both doors are busy, and a picture is drawn (`--picture docs/performance-api.svg`). Loopback only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from bench_system import Door, _when
from processes_watch import exact_cpu_s

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import System, running

CONNECTIONS = (1, 8, 32)
AUDIT = {"audit_type": "CONTINUOUS", "interval": "86400", "goal": "dummy"}
AUDIT |= {"start_time": "2099-01-01T00:00:00"}
PROCESSES = ("api", "envoy")
ROOMS = (  # the first that a frame's file names tells whose time it is
    ("store", "trimtab_common/store"),
    ("SQLAlchemy and driver", ("sqlalchemy", "aiosqlite")),
    ("REST core", ("trimtab_api/rest", "trimtab_common/domain", "trimtab_api/policies")),
    ("ASGI door", ("uvicorn", "starlette", "h11", "trimtab_api/asgi")),
    ("gRPC door", ("grpc", "trimtab_api/servicer")),
    ("logs", "structlog"),
    ("event loop", ("asyncio", "uvloop")),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A kind of request; with a body it is a POST."""

    title: str
    path: str
    body: str | None = None


def kinds(audit: str) -> list[Asked]:
    """POST comes last: it makes the lists longer."""
    return [
        Asked("GET /v1/goals", "/v1/goals"),
        Asked("GET one audit", f"/v1/audits/{audit}"),
        Asked("GET /v1/audits?limit=100", "/v1/audits?limit=100"),
        Asked("POST /v1/audits", "/v1/audits", json.dumps(AUDIT)),
    ]


def wrk_command(asked: Asked, port: int, connections: int, seconds: float) -> list[str]:
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "--latency"]
    command += ["-H", "OpenStack-API-Version: infra-optim latest", "-H", "X-Auth-Token: none"]
    if asked.body is not None:
        script = Path(tempfile.gettempdir()) / f"trimtab-doors-{os.getpid()}.lua"
        script.write_text(f"wrk.method = 'POST'\nwrk.body = '{asked.body}'\n")
        command += ["-H", "Content-Type: application/json", "-s", str(script)]
    return [*command, f"http://127.0.0.1:{port}{asked.path}"]


def wrk(asked: Asked, port: int, connections: int, seconds: float) -> dict:
    command = wrk_command(asked, port, connections, seconds)
    text = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + 30
    ).stdout
    found = {
        "per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "p50_ms": _ms(re.search(r"50%\s+([\d.]+)(us|ms|s)", text)),
        "p99_ms": _ms(re.search(r"99%\s+([\d.]+)(us|ms|s)", text)),
    }
    if "Non-2xx" in text:
        raise RuntimeError(text)
    return found


def _ms(found: re.Match[str]) -> float:
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def measure(system: System, wanted: list[Asked], seconds: float) -> list[dict]:
    rows = []
    pids = {name: system.child(name).pid for name in PROCESSES}
    for asked in wanted:
        for door, port in (("Envoy", system.ports.gateway), ("ASGI", system.ports.api_http)):
            for connections in CONNECTIONS:
                before = {name: exact_cpu_s(pid) for name, pid in pids.items()}
                found = wrk(asked, port, connections, seconds)
                cpu = {
                    f"{name}_us": (exact_cpu_s(pid) - before[name]) / found["requests"] * 1e6
                    for name, pid in pids.items()
                }
                rows.append(
                    {"what": asked.title, "door": door, "connections": connections} | found | cpu
                )
                print(line(rows[-1]), flush=True)
    return rows


def line(row: dict) -> str:
    return (
        f"| {row['what']} | {row['door']} | {row['connections']} | {row['per_s']:.0f} | {row['p50_ms']:.1f}"
        f" | {row['p99_ms']:.1f} | {row['api_us']:.0f} | {row['envoy_us']:.0f} |"
    )


def where_time_goes(system: System, asked: Asked, seconds: float) -> Counter:
    """Samples of api's Python stacks while Envoy's door is busy: (room, own function) -> samples."""
    stacks = Path(tempfile.mkstemp(suffix=".txt")[1])
    spy = Path(sys.executable).parent / "py-spy"
    load = subprocess.Popen(
        wrk_command(asked, system.ports.gateway, 8, seconds + 2), stdout=subprocess.DEVNULL
    )
    try:
        command = [str(spy), "record", "-p", str(system.child("api").pid), "-d", f"{seconds:.0f}"]
        command += [
            "--gil",
            "-r",
            "200",
            "-f",
            "raw",
            "-o",
            str(stacks),
        ]  # threads that wait count not
        subprocess.run(command, check=True, capture_output=True, timeout=seconds + 60)
    finally:
        load.wait(seconds + 30)
    found: Counter = Counter()
    for text in stacks.read_text().splitlines():
        stack, _, count = text.rpartition(" ")
        found[_room(stack.split(";"))] += int(count)
    stacks.unlink()
    return found


def _room(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, parts in ROOMS:
            if any(part in frame for part in ([parts] if isinstance(parts, str) else parts)):
                return name
    return "else"


def picture(shares: dict[str, Counter], title: str) -> str:
    """A bar for each kind of request, divided by rooms."""
    colours = (
        "#4e79a7",
        "#f28e2b",
        "#59a14f",
        "#e15759",
        "#b07aa1",
        "#9c755f",
        "#76b7b2",
        "#bab0ac",
    )
    names = [name for name, _ in ROOMS] + ["else"]
    width, left, parts, y = 900, 190, [], 50
    for what, counts in shares.items():
        total = sum(counts.values()) or 1
        x = float(left)
        parts.append(f'<text x="10" y="{y + 22}">{escape(what)}</text>')
        for name, colour in zip(names, colours, strict=True):
            share = counts[name] / total
            wide = share * (width - left - 20)
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="34" fill="{colour}"/>'
            )
            if share >= 0.05:
                parts.append(
                    f'<text x="{x + 4:.1f}" y="{y + 22}" fill="#fff">{share * 100:.0f} %</text>'
                )
            x += wide
        y += 48
    for number, (name, colour) in enumerate(zip(names, colours, strict=True)):
        x = 10 + number % 4 * 220
        at = y + 16 + number // 4 * 24
        parts.append(f'<rect x="{x}" y="{at - 12}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{at}">{escape(name)}</text>')
    height = y + 60
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="10" y="26" font-size="16">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each run")
    parser.add_argument("--picture-only", action="store_true", help="do not measure")
    parser.add_argument("--picture", type=Path, help="where to draw where api's time goes")
    parser.add_argument("--out", type=Path, default=Path("build/doors.json"))
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed: apt-get install wrk")
        return 2
    with tempfile.TemporaryDirectory(prefix="trimtab-doors-") as folder:
        spec = SystemSpec(
            state_dir=Path(folder),
            ports=ports.free_row(),
            ready_timeout_s=300.0,  # a busy machine
        )
        with running(spec, say=lambda _line: None) as system:
            door = Door(system.ports.api_http)
            _when(lambda: door.json("GET", "/v1/goals")["goals"])
            made = [door.json("POST", "/v1/audits", AUDIT) for _ in range(100)]
            wanted = kinds(made[50]["uuid"])
            time.sleep(2)
            print(
                "| request | door | connections | requests/s | p50 ms | p99 ms | api us | Envoy us |"
            )
            print("|---|---|---|---|---|---|---|---|")
            rows = [] if options.picture_only else measure(system, wanted, options.seconds)
            shares = {}
            if options.picture:
                for asked in wanted:
                    shares[asked.title] = where_time_goes(system, asked, options.seconds)
                heading = "Where the Python time of api goes, through Envoy, 8 connections"
                options.picture.write_text(picture(shares, heading))
    print(f"load average {os.getloadavg()[0]:.1f}")
    for title, counts in shares.items():
        total = sum(counts.values()) or 1
        print(title, {name: f"{n * 100 / total:.0f} %" for name, n in counts.most_common()})
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps({"rows": rows, "shares": shares}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
