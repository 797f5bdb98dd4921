"""The captured story of hosts, aggregates and volumes, whatever becomes of its messages on the way.

As `test_notification_replays.py` does for servers: up to each moment in order, shuffled within two seconds,
threefold, and with losses that a full read makes good. The truth is what the payloads say, in order.
"""

from __future__ import annotations

import random

import pytest
from notification_builders import Desk, a_host
from test_notification_replays import (
    HOSTS,
    SINCE,
    Nova,
    StorageDesk,
    as_they_came,
    captured,
    shuffled,
    story,
    threefold,
    with_losses,
)

from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.element_reads import ElementRead
from trimtab_collector.notifications.rereads import Rereads
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.compute_terms import Aggregate
from trimtab_common.domain.storage import POOL, VOLUME, PoolRow, VolumeRow

ARRIVALS = pytest.mark.parametrize(
    ("arrival", "resync"),
    [(as_they_came, False), (shuffled, False), (threefold, False), (with_losses, True)],
    ids=["in-order", "shuffled-2s", "threefold", "losses-and-resync"],
)


def told(reference, families):
    """The messages of these families, and after each what is true: state of hosts, aggregates, volumes."""
    messages, moments = [], []
    closed, aggregates, volumes = {}, {}, {}
    for _, message, body, versioned in captured(reference):
        kind, payload = message["event_type"], message["payload"]
        if not kind.startswith(families) or versioned == kind.startswith(("volume", "capacity")):
            continue
        data = payload.get("nova_object.data", payload)
        messages.append((message["timestamp"], body))
        if kind == "service.update":
            closed[data["host"]] = data["disabled"]
        elif kind == "aggregate.delete.end":
            aggregates.pop(data["id"])
        elif kind.startswith("aggregate.") and kind.endswith(".end"):
            aggregates[data["id"]] = (data["name"], set(data["hosts"]), data["metadata"])
        elif kind == "volume.delete.end":
            volumes.pop(data["volume_id"])
        elif kind.startswith("volume.") and not kind.endswith(".start"):
            volumes[data["volume_id"]] = (data["status"], data["size"], data["host"])
        moments.append((len(messages), dict(closed), dict(aggregates), dict(volumes)))
    return messages, moments


@pytest.mark.req("C-012", "C-054", "C-064")
@ARRIVALS
async def test_hosts_and_aggregates_end_as_the_story_tells(reference, arrival, resync):
    messages, moments = told(reference, ("service.", "aggregate."))
    assert len(messages) == 17
    for seed in range(5):
        for length, closed, aggregates, _ in moments:
            rng = random.Random(seed * 1000 + length)
            desk, nova = Desk(*map(a_host, HOSTS)), Nova({})
            nova.hosts = [a_host(name, enabled=not closed.get(name, False)) for name in HOSTS]
            nova.aggregates = tuple(
                Aggregate(id=key, name=name, zone=None, hosts=frozenset(hosts), metadata=metadata)
                for key, (name, hosts, metadata) in sorted(aggregates.items())
            )
            for body in arrival(messages[:length], rng):
                desk.inbox.receive([body])
            await Rereads(desk.live, nova, desk.inbox, desk.clock).step()
            if resync:
                desk.inbox.ask_resync()
            if desk.inbox.resyncs_asked:
                await ComputeSync(desk.live, nova, desk.clock, SyncSettings(), desk.inbox).step()
            found = {
                row.id: (row.name, set(row.hosts), dict(row.metadata))
                for row in desk.model.aggregates
            }
            assert found == aggregates, (seed, length)
            enabled = {
                row.hostname: row.enabled for row in desk.model.hosts() if row.hostname in HOSTS
            }
            assert enabled == {name: not closed.get(name, False) for name in HOSTS}, (seed, length)


class Cinder:
    """The storage of one moment."""

    def __init__(self, rows):
        self.rows = rows

    async def read_all(self, _model):
        return ElementRead(elements=self.rows, health=SetHealth(), since=SINCE)


@pytest.mark.req("C-012", "C-054", "C-064", "C-074")
@ARRIVALS
async def test_volumes_end_as_the_story_tells(reference, arrival, resync):
    messages, moments = told(reference, ("volume.", "capacity."))
    assert len(messages) == 17
    for seed in range(5):
        for length, _, _, volumes in moments:
            rng, desk = random.Random(seed * 1000 + length), StorageDesk()
            for body in arrival(messages[:length], rng):
                desk.inbox.receive([body])
            if resync:
                rows = [PoolRow(name=row.name) for row in desk.model.rows(POOL)]
                rows += [
                    VolumeRow(uuid=key, status=status, size_gb=size, pool=pool)
                    for key, (status, size, pool) in volumes.items()
                ]
                desk.inbox.ask_resync()
                sync = ComputeSync(
                    desk.live, Cinder(rows), desk.live._clock, SyncSettings(), desk.inbox
                )
                await sync.step()
            found = {
                row.uuid: (row.status, row.size_gb, row.pool) for row in desk.model.rows(VOLUME)
            }
            assert found == volumes, (seed, length)


@pytest.mark.req("C-051")
async def test_nothing_relies_on_instance_update(reference):
    """Nova sends it only with `notify_on_state_change`: the model ends the same without any."""
    messages, moments = story(reference)
    without = [(at, body) for at, body in messages if b"instance.update" not in body]
    assert len(messages) - len(without) == 65
    compared = 0
    for length, rows in moments:
        if b"instance.update" in messages[length - 1][1]:
            continue  # the last word on this moment was an update
        desk = Desk(*map(a_host, HOSTS))
        last = messages[length - 1]
        for at, body in without:
            desk.inbox.receive([body])
            if (at, body) == last:
                break
        await Rereads(desk.live, Nova(rows), desk.inbox, desk.clock).step()
        assert {row.uuid: row for row in desk.model.servers()} == rows, length
        compared += 1
    assert compared >= 10
