"""`trimtab metrics`: datasources and series, asked of a service that measures from a file."""

from __future__ import annotations

import asyncio
import json
import math
import time

import pytest
from click.testing import CliRunner

from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_cli.main import main
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.datasources.static import Static
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.metrics_servicer import SERVICE, MetricsServicer
from trimtab_common.domain.changes import HostRow, UpsertHost
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.runtime.service import Service
from trimtab_common.runtime.settings import CommonSettings


async def invoked(path, *command):
    """What the command prints; the service lives as long as it does."""
    live = LiveModel(FakeClock())
    host = HostRow(uuid="u", hostname="a", inventory=(1, 1, 1))
    live.publish([Delta(changes=[UpsertHost(host)], cause="sync")])
    live.mark_built()
    service = Service("collector", "127.0.0.1:0", settings=CommonSettings(host="h"))
    sources = Datasources(["static", "monasca"], {"static": Static(path)})
    add = metrics_pb2_grpc.add_MetricsServiceServicer_to_server
    service.add(MetricsServicer(sources, live), add, SERVICE)
    await service.start()
    arguments = ["--address", f"127.0.0.1:{service.bound_port}", "metrics", *command]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    await service.stop(grace_s=0)
    return result


@pytest.mark.req("B-071", "C-176")
async def test_a_series_is_shown_with_its_daily_wave(tmp_path):
    path, now = tmp_path / "metrics.json", int(time.time()) // 3600 * 3600
    hours = [now - 3600 * i for i in range(96)]
    rows = [[at, 50 + 10 * math.sin(2 * math.pi * at / 86_400)] for at in hours]
    path.write_text(json.dumps({"series": {"host_power": {"a": rows}}}))
    command = ("series", "host_power", "--hours", "96", "--granularity", "3600")
    (row,) = json.loads((await invoked(path, *command, "-o", "json")).output)
    assert (row["resource"], row["datasource"]) == ("a", "static")
    assert row["mean"] == pytest.approx(50, abs=0.5)
    assert row["daily_wave"] == pytest.approx(20, abs=1)
    assert row["stationary"] is True
    result = await invoked(path, *command)
    assert "daily wave" in result.output
    failed = await invoked(path, "series", "host_colour")
    assert failed.exit_code == 1
    assert "host_colour" in failed.output


@pytest.mark.req("C-125", "C-137")
async def test_datasources_are_shown_with_what_is_wrong(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"hosts": {"a": {"host_power": 3}}}))
    found = json.loads((await invoked(path, "datasources", "-o", "json")).output)
    assert [row["name"] for row in found] == ["static", "monasca"]
    assert found[0]["metrics"] == ["host_power"]
    assert "use gnocchi or aetos" in found[1]["problem"]
    assert "use gnocchi" in (await invoked(path, "datasources")).output
