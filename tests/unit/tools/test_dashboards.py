"""The dashboards in deploy/grafana: whole, and every query calculates what its panel says (B-174)."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trimtab_collector.datasources import gnocchi

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "grafana"
BOARD = json.loads((FOLDER / "noisy-neighbour.json").read_text())
PANELS = {panel["title"]: panel for panel in BOARD["panels"]}
SERIES = re.compile(r"(?:ceilometer|libvirt)_[a-z0-9_]+")

INPUT = {
    'ceilometer_cpu_l3_cache{resource="quiet"}': "4000000+0x30",
    'ceilometer_cpu_l3_cache{resource="noisy"}': "1000000+1000000x30",
    'ceilometer_memory_bandwidth_total{resource="quiet"}': "500+0x30",
    'ceilometer_memory_bandwidth_total{resource="noisy"}': "0+100x30",
    'ceilometer_perf_instructions{resource="quiet"}': "30+0x30",
    'ceilometer_perf_instructions{resource="noisy"}': "90+0x30",
    'ceilometer_perf_cpu_cycles{resource="quiet"}': "60+0x30",
    'ceilometer_perf_cpu_cycles{resource="noisy"}': "60+0x30",
    **{
        f'libvirt_domain_vcpu_delay_seconds_total{{instance="h",domain="d1",vcpu="{cpu}"}}': "0+6x30"
        for cpu in (0, 1)
    },
    'libvirt_domain_openstack_info{instance="h",domain="d1",instance_id="quiet"}': "1+0x30",
}
"""A sample a minute."""
IPC = {"quiet": 0.5, "noisy": 1.5}
CACHE = {"quiet": 4_000_000, "noisy": 21_000_000}
BANDWIDTH = {"quiet": 500, "noisy": 2000}
EXPECTED = {
    "L3 cache per server": [CACHE],
    "Memory bandwidth per server": [BANDWIDTH],
    "Instructions per cycle against cache occupancy": [CACHE, IPC],
    "Instructions per cycle against memory bandwidth": [BANDWIDTH, IPC],
    "Change of memory bandwidth per server": [{"quiet": 0, "noisy": 1000}],
    "CPU steal per server": [{"quiet": 0.2}],
}
"""After twenty minutes, over a window of ten."""


def expressions(panel):
    return [target["expr"] for target in panel["targets"]]


@pytest.mark.req("B-174")
def test_the_board_has_each_panel_that_was_asked_for_and_nothing_overlaps():
    assert set(PANELS) == set(EXPECTED)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(PANELS)
    assert all(panel["type"] in {"timeseries", "xychart"} for panel in BOARD["panels"])
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
    known = {f"${{{variable['name']}}}" for variable in BOARD["templating"]["list"]}
    sources = {t["datasource"]["uid"] for p in BOARD["panels"] for t in (p, *p["targets"])}
    assert sources <= known


@pytest.mark.req("B-174")
def test_every_series_stands_in_the_page_and_the_cache_is_the_one_that_the_strategy_reads():
    page = (FOLDER / "README.md").read_text()
    told = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    asked = {name for p in PANELS.values() for e in expressions(p) for name in SERIES.findall(e)}
    assert asked == told
    meter = gnocchi.NAMES["instance_l3_cache_usage"]
    assert f"ceilometer_{meter}" in SERIES.findall(expressions(PANELS["L3 cache per server"])[0])
    meters = set(re.findall(r"^\| `ceilometer_\w+` \|[^|]*\| `([\w.]+)`", page, re.MULTILINE))
    assert {f"ceilometer_{one.replace('.', '_')}" for one in meters} == {
        name for name in told if name.startswith("ceilometer_")
    }


@pytest.mark.req("B-174")
def test_prometheus_itself_calculates_what_each_panel_shows(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (package prometheus) is not installed.")
    asked = [
        {
            "eval_time": "20m",
            "expr": expr.replace("$server", ".*").replace("$window", "10m"),
            "exp_samples": [
                {"labels": f'{{{_label(expr)}="{server}"}}', "value": value}
                for server, value in expected.items()
            ],
        }
        for title, panel in PANELS.items()
        for expr, expected in zip(expressions(panel), EXPECTED[title], strict=True)
    ]
    series = [{"series": name, "values": values} for name, values in INPUT.items()]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    file = tmp_path / "noisy.yml"
    file.write_text(json.dumps({"evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _label(expr):
    return "instance_id" if "libvirt" in expr else "resource"
