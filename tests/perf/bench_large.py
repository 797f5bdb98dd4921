"""Rows of the bench at the largest cloud: how cost grows, and what collector itself holds and gives.

10,000 hosts with 200,000 servers. Growth is a ratio of the same work at two sizes, taken in one process
right after each other. Memory and delivery are those of a real collector that has read a fake cloud of
that size through its APIs; the cloud is another process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench_clouds import cluster_file, notifications
from bench_model import Figure, a_fakecloud, built
from processes_watch import cpu_s, peak_mib, rss_mib

from trimtab_collector.live_model import Delta
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import UpsertServer
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.wire.replica import ModelReplica

_READ_WITHIN_S = 900.0


def growth_figures(limits):
    """Per event and per server, at the smallest and at the largest size."""
    small, large = limits["small"], limits["large"]
    events, snapshots = {}, {}
    for name, size in (("small", small), ("large", large)):
        live, hosts, servers = built(size["hosts"], size["servers"], 7)
        events[name], applied = _event_us(live, hosts, servers, limits["events"])
        snapshots[name] = _snapshot_ms(live, servers, limits["snapshots"])
        if applied < limits["events"] // 2:
            yield Figure("event_growth", None, "", f"only {applied} events changed the model")
            return
        del live, hosts, servers
        gc.collect()
    words = f"{events['small']:.0f} and {events['large']:.0f} us an event"
    yield Figure("event_growth", events["large"] / events["small"], words)
    yield Figure("snapshot_large", snapshots["large"], "after a change")
    times = large["servers"] / small["servers"]
    words = (
        f"{snapshots['small']:.2f} and {snapshots['large']:.1f} ms, {times:.0f} times the servers"
    )
    yield Figure("snapshot_growth", snapshots["large"] / snapshots["small"] / times, words)


def _event_us(live, hosts, servers, count):
    """Least CPU of a few rounds over fresh events, and how many of the last round changed anything."""
    inbox = Inbox(live, SystemClock())
    inbox.connected()
    best, applied = float("inf"), 0
    for seed in range(3):
        bodies = list(notifications(hosts, servers, count, seed))
        before = live.model.revision
        gc.collect()
        gc.freeze()  # the bench's own rows are not collector's garbage
        began = time.process_time()
        for at in range(0, count, 50):
            inbox.receive(bodies[at : at + 50])
        best = min(best, (time.process_time() - began) / count * 1e6)
        applied = max(applied, live.model.revision - before)
        gc.unfreeze()
    return best, applied


def _snapshot_ms(live, servers, repeats):
    best = float("inf")
    for number in range(repeats):
        row = replace(servers[number], name=f"changed-{number}")
        live.publish([Delta(changes=[UpsertServer(row)], cause="bench")])
        gc.collect()
        began = time.process_time()
        live.snapshot()
        best = min(best, (time.process_time() - began) * 1000)
    return best


def collector_figures(limits):
    """Resident memory of a collector at the largest size, and the wall time of a new subscriber."""
    size = limits["large"]
    wanted = (size["hosts"], size["servers"])
    with tempfile.TemporaryDirectory(prefix="trimtab-bench-") as folder:
        contents = Path(folder) / "cluster.json"
        contents.write_text(json.dumps(cluster_file(*wanted, 1)))
        with (
            a_fakecloud(folder, "--cluster", str(contents), within_s=600.0) as clouds,
            _a_collector(folder, clouds) as (child, port),
        ):
            began = time.monotonic()
            held = asyncio.run(_subscribed(port, _READ_WITHIN_S))[0]
            read_s = time.monotonic() - began
            walls = []
            for _ in range(limits["subscribers"]):
                before = cpu_s(child.pid)
                held, wall = asyncio.run(_subscribed(port, _READ_WITHIN_S))
                walls.append((wall, cpu_s(child.pid) - before))
            rss, peak = rss_mib(child.pid), peak_mib(child.pid)
    void = "" if held == wanted else f"it held {held}"
    yield Figure("collector_memory", rss, f"peak {peak:.0f} MiB, first read {read_s:.0f} s", void)
    wall, spent = min(walls)
    words = f"{len(walls)} in turn, worst {max(walls)[0]:.2f} s; collector's CPU {spent:.2f} s"
    yield Figure("snapshot_delivery", wall, words, void)


async def _subscribed(port, within_s):
    """((hosts, servers), wall seconds) from asking for the stream until the model is whole."""
    channel = open_channel(f"127.0.0.1:{port}")
    try:
        await asyncio.wait_for(channel.channel_ready(), 300)
        replica = ModelReplica(channel)
        began = time.monotonic()
        following = asyncio.create_task(replica.run())
        try:
            await replica.wait_ready(within_s)
            wall = time.monotonic() - began
            return (replica.model.n_hosts, replica.model.n_servers), wall
        finally:
            following.cancel()
    finally:
        await channel.close()


class _a_collector:  # noqa: N801, reads as the context that it is
    """A collector process on the cloud of this clouds.yaml: (process, port)."""

    def __init__(self, folder, clouds):
        self._folder, self._clouds = Path(folder), clouds

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1] % 20_000 + 20_000  # its metrics are 100 above
        settings = self._folder / "collector.conf"
        settings.write_text(
            f"[trimtab]\ncollector = 127.0.0.1:{port}\ncloud = watcher\n"
            "[collector]\ncollector_plugins = compute\n"
        )
        program = Path(sys.executable).parent / "trimtab-collector"
        self._child = subprocess.Popen(
            [str(program), f"--config-file={settings}"],
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "collector.log").open("w"),
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(self._clouds)},
        )
        return self._child, port

    def __exit__(self, *_failure):
        self._child.send_signal(signal.SIGTERM)
        self._child.wait(120)
