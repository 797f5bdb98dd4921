"""Every published sample and every captured message: what was expected of it and what it did.

The golden table holds names and our words only; remake it with `REMAKE_GOLDEN=1`. The captured
messages are replayed in order, shuffled, doubled and with losses, up to many moments of the story:
the model ends each time as the cloud was then, as Nova's unversioned family tells it.
"""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from notification_builders import Desk, a_host, a_server, enveloped
from notification_words import EXPECTED, NONE, STORAGE, done, fits, rows_of

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.live_model import Delta, LiveElements
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.nova_events import IGNORED, TABLE
from trimtab_collector.notifications.rereads import Rereads
from trimtab_collector.storage import cinder_events
from trimtab_common.domain.changes import RemoveServer, SetHealth, UpsertHost, UpsertServer
from trimtab_common.domain.elements import Upsert
from trimtab_common.domain.storage import PoolRow
from trimtab_common.runtime.clock import FakeClock

GOLDEN = Path(__file__).parents[2] / "golden" / "notifications" / "mutations.txt"
HOSTS = [f"compute-{number}" for number in range(1, 7)]
SINCE = datetime(2026, 11, 22, 7, 0, tzinfo=UTC)  # before the capture began


def samples(reference):
    folder = reference / "data" / "nova-notifications"
    for entry in json.loads((folder / "index.json").read_text())["samples"]:
        yield entry["file"], entry["event_type"], json.loads((folder / entry["file"]).read_text())


def captured(reference):
    for path in sorted((reference / "data" / "captured-notifications").glob("*.json")):
        document = json.loads(path.read_text())
        versioned = document["routing_key"].startswith("versioned_notifications.")
        yield path.name, document["message"], document["body"].encode(), versioned


class StorageDesk:
    """An inbox of the storage model with the pools of the captured cloud."""

    def __init__(self):
        clock = FakeClock(datetime(2027, 1, 1, tzinfo=UTC))
        self.live = LiveElements("storage", clock, named="pool")
        self.inbox = Inbox(self.live, clock, dialect=cinder_events.dialect({}))
        pools = [PoolRow(name=f"storage@{name}#pool0") for name in ("fast", "slow")]
        self.live.publish([Delta(changes=[*map(Upsert, pools)], cause="sync")])
        self.live.mark_built()

    @property
    def model(self):
        return self.live.model

    def wanted(self):
        return self.inbox.wanted.take()


def told(desk, body):
    before = rows_of(desk.model)
    desk.inbox.receive([body])
    return done(desk.model, before, desk.wanted())


def lines_of(reference):
    for name, kind, message in samples(reference):
        prior = a_server(hostname="host2", demand=(7, 7, 7), name="old")
        desk = Desk(
            a_host("compute"), a_host("host1", up=False), a_host("host2", enabled=False), prior
        )
        if kind in ("aggregate.delete.end", "server_group.delete"):
            beginning = kind.replace("delete", "create")
            desk.inbox.receive([enveloped(message | {"event_type": beginning})])
        yield name, kind, told(desk, enveloped(message))
    desk, volumes = Desk(*map(a_host, HOSTS)), StorageDesk()
    for name, message, body, versioned in captured(reference):
        kind = message["event_type"]
        if versioned:
            yield name, kind, told(desk, body)
        elif kind.startswith(("volume.", "capacity.")):
            yield name, kind, told(volumes, body)
        else:
            assert told(desk, body) == "nothing", name  # the old family is not consumed
            assert told(volumes, body) == "nothing", name


@pytest.mark.req("C-054", "C-055", "C-056")
def test_every_document_does_what_is_expected_of_it(reference):
    table = []
    for name, kind, made in lines_of(reference):
        expected = (EXPECTED | STORAGE).get(kind, NONE)
        table.append(f"{name} | {kind} | {expected} | {made}")
        assert fits(expected, made), table[-1]
    text = "document | event | expected | made\n" + "\n".join(table) + "\n"
    if os.environ.get("REMAKE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_words_and_the_table_name_the_same_events():
    assert EXPECTED.keys() == TABLE.keys()
    assert not IGNORED & TABLE.keys()
    assert STORAGE.keys() == cinder_events.dialect({}).table.keys()


# -- replays ------------------------------------------------------------------------------------


class Nova:
    """The cloud as it was at one moment of the story."""

    def __init__(self, rows):
        self.hosts = [a_host(name) for name in HOSTS]
        self.rows = rows
        self.aggregates = ()

    async def read_elements(self, _model, *, servers, hosts):
        changes = [UpsertHost(row) for row in self.hosts if row.hostname in hosts]
        for uuid in servers:
            row = self.rows.get(uuid)
            changes.append(UpsertServer(row) if row else RemoveServer(uuid))
        return changes

    async def read_all(self, _model):
        return FullRead(
            hosts=self.hosts,
            servers=list(self.rows.values()),
            aggregates=self.aggregates,
            health=SetHealth(),
            since=SINCE,
            groups=[],
        )


def story(reference):
    """The messages about servers with their times, and the moments at which nothing is under way.

    Of a moment: how many messages came before it, and the servers as the last word on each was.
    """
    messages, moments, desk = [], [], Desk(*map(a_host, HOSTS))
    truth = {}
    for _, message, body, versioned in captured(reference):
        kind = message["event_type"]
        if kind == "compute.instance.update":
            truth[message["payload"]["instance_id"]] = message["payload"]
        if not versioned or not kind.startswith("instance."):
            continue
        messages.append((message["timestamp"], body))
        if kind in IGNORED or kind not in TABLE:
            continue
        desk.inbox.receive([body])
        data = message["payload"]["nova_object.data"]
        row, said = desk.server(data["uuid"]), truth[data["uuid"]]
        settled = said["new_task_state"] is None and data["task_state"] is None
        if row is not None and settled and row.hostname == (said["host"] or ""):
            assert (row.state.text, row.demand) == (
                said["state"],
                (said["vcpus"], said["memory_mb"], said["disk_gb"]),
            )
            moments.append((len(messages), {row.uuid: row}))
        if said["state"] == "deleted":
            moments.append((len(messages), {}))
    return messages, moments


def shuffled(messages, rng):
    """By arrival up to two seconds after the moment of each."""
    keyed = []
    for at, body in messages:
        seconds = datetime.fromisoformat(at).timestamp()
        keyed.append((seconds + rng.uniform(0, 2), body))
    return [body for _, body in sorted(keyed, key=lambda pair: pair[0])]


def as_they_came(messages, _rng):
    return [body for _, body in messages]


def threefold(messages, rng):
    bodies = [body for body in as_they_came(messages, rng) for _ in range(3)]
    return [
        body for chunk in range(0, len(bodies), 9) for body in mixed(bodies[chunk : chunk + 9], rng)
    ]


def mixed(bodies, rng):
    return rng.sample(bodies, len(bodies))


def with_losses(messages, rng):
    return [body for _, body in messages if rng.random() >= 0.05]


@pytest.mark.req("C-012", "C-054", "C-064")
@pytest.mark.parametrize(
    ("arrival", "resync"),
    [(as_they_came, False), (shuffled, False), (threefold, False), (with_losses, True)],
    ids=["in-order", "shuffled-2s", "threefold", "losses-and-resync"],
)
async def test_the_model_ends_as_the_cloud_was_whatever_became_of_the_messages(
    reference, arrival, resync
):
    messages, moments = story(reference)
    assert len(messages) > 100
    assert len(moments) >= 20
    for seed in range(3):
        for length, rows in moments:
            rng = random.Random(seed * 1000 + length)
            desk = Desk(*map(a_host, HOSTS))
            nova = Nova(rows)
            for body in arrival(messages[:length], rng):
                desk.inbox.receive([body])
            await Rereads(desk.live, nova, desk.inbox, desk.clock).step()
            if resync:
                desk.inbox.ask_resync()
                sync = ComputeSync(desk.live, nova, desk.clock, SyncSettings(), desk.inbox)
                await sync.step()
            assert {row.uuid: row for row in desk.model.servers()} == rows, (seed, length)
