"""What is done to the cloud behind Trimtab's back shows in `trimtab model watch` within a second.

A delay is measured from the moment that Nova's own API first shows the act finished, asked every
50 ms, to the moment that the command prints it. It is negative where the command was first: Nova
sends its notification before the server is idle again.
"""

from __future__ import annotations

import itertools
import math
import time

import pytest
from real_cloud import OURS, eventually
from watching import watching

SEEN_WITHIN_S = 1.0
EVERY_S = 0.05


@pytest.fixture
def watcher(trimtab):
    with watching(trimtab("model", "watch", "-o", "json")) as started:
        yield started


@pytest.fixture
def delay(watcher):
    """Does an act and says by how much the watcher was later than Nova's API, in seconds."""

    def measure(key, act, nova_shows, model_shows):
        began = time.monotonic()
        act()
        eventually(nova_shows, f"Nova shows {key} changed", every_s=EVERY_S)
        shown_at = time.monotonic()
        return watcher.since(key, began, model_shows) - shown_at

    return measure


def acts_on(cloud, server):
    """Pairs of (name, act, what Nova shows, what the model shows) that leave a server as it was."""
    uuid = server.uuid

    def asks(name, status, state, **action):
        return (
            name,
            lambda: cloud.act(uuid, **action),
            lambda: (s := cloud.server(uuid)).status == status and s.idle,
            lambda row: row.get("state") == f"SERVER_STATE_{state}",
        )

    return [
        asks("pause", "PAUSED", "PAUSED", pause=None),
        asks("unpause", "ACTIVE", "ACTIVE", unpause=None),
        asks("suspend", "SUSPENDED", "SUSPENDED", suspend=None),
        asks("resume", "ACTIVE", "ACTIVE", resume=None),
        asks("stop", "SHUTOFF", "STOPPED", **{"os-stop": None}),
        asks("start", "ACTIVE", "ACTIVE", **{"os-start": None}),
        (
            "lock",
            lambda: cloud.act(uuid, lock=None),
            lambda: cloud.get(f"/servers/{uuid}")["server"]["locked"],
            lambda row: row.get("locked"),
        ),
        (
            "unlock",
            lambda: cloud.act(uuid, unlock=None),
            lambda: not cloud.get(f"/servers/{uuid}")["server"]["locked"],
            lambda row: not row.get("locked"),
        ),
    ]


def acts_on_host(cloud, host):
    return [
        (
            status,
            lambda status=status: cloud.change_service(host, status=status),
            lambda status=status: cloud.services()[host]["status"] == status,
            lambda row, status=status: bool(row.get("enabled")) == (status == "enabled"),
        )
        for status in ("disabled", "enabled")
    ]


@pytest.mark.req("C-117")
@pytest.mark.parametrize("rounds", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_what_happens_behind_our_back_is_streamed_within_a_second(
    cloud, watcher, delay, note, rounds
):
    cloud.enable_all()
    delays = {}
    uuid = cloud.create(f"{OURS}watched", flavor="m1.tiny")
    server = cloud.active(uuid)
    for _ in range(rounds):
        before = cloud.server(uuid).host
        moved = delay(
            uuid,
            lambda: cloud.live_migrate(uuid),
            lambda before=before: (s := cloud.server(uuid)).host != before and s.status == "ACTIVE",
            lambda row, before=before: row.get("hostname") not in {before, None},
        )
        delays.setdefault("live migration", []).append(moved)
        cloud.active(uuid)
        for name, *act in acts_on(cloud, server):
            delays.setdefault(name, []).append(delay(uuid, *act))
        host = cloud.server(uuid).host
        for name, *act in acts_on_host(cloud, host):
            delays.setdefault(name, []).append(delay(host, *act))
    cloud.delete(uuid)
    figures = summary(delays)
    note("seen after Nova's API", figures)
    assert max(itertools.chain(*delays.values())) < SEEN_WITHIN_S, delays
    assert watcher.causes >= {"notification"}


def summary(delays):
    """One line: how many, and quantiles in milliseconds."""
    every = sorted(itertools.chain(*delays.values()))

    def quantile(part):
        return every[math.ceil(part * len(every)) - 1] * 1000

    worst = max(delays, key=lambda name: max(delays[name]))
    return (
        f"{len(every)} acts of {len(delays)} kinds: p50 {quantile(0.5):.0f} ms, "
        f"p99 {quantile(0.99):.0f} ms, slowest {every[-1] * 1000:.0f} ms ({worst})"
    )
