"""The storage and baremetal models: read from a (fake) cloud, kept by events, streamed like compute."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import openstack
import pytest
from notification_builders import a_message, enveloped

from trimtab_collector.baremetal.ironic_events import IRONIC
from trimtab_collector.baremetal.reading import BaremetalReader
from trimtab_collector.live_model import Delta, LiveElements
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.mailroom import Mailroom
from trimtab_collector.plugins import BaremetalPlugin, Context, StoragePlugin, chosen
from trimtab_collector.storage import cinder_events
from trimtab_collector.storage.reading import StorageReader, pool_row
from trimtab_common.domain import baremetal, storage
from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState
from trimtab_common.domain.elements import Upsert
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.storage import Attachment, PoolRow, StorageNodeRow, VolumeRow
from trimtab_common.openstack.cinder import PoolRecord, VolumeServiceRecord, VolumeTypeRecord
from trimtab_common.openstack.maas import Maas, MaasSettings
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.clock import FakeClock, SystemClock
from trimtab_common.runtime.general_pool import GeneralPool
from trimtab_common.wire.element_codec import change_of, elements_of
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec

VOLUME = "9eeedae4-3829-4f49-98c6-ea9d0418d5bb"
FAST, SLOW = "storage@fast#pool0", "storage@slow#pool0"
TYPES = {"t-fast": "fast", "t-slow": "slow"}


def volume_event(event_type, **fields):
    data = {
        "volume_id": VOLUME,
        "tenant_id": "p",
        "host": FAST,
        "volume_type": "t-fast",
        "display_name": "vol",
        "status": "available",
        "size": 10,
        "snapshot_id": None,
        "metadata": [],
        "volume_attachment": [],
        "created_at": "2026-01-01T00:00:00+00:00",
    } | fields
    message = a_message(event_type, "none", {}, publisher_id="volume.storage@fast#pool0")
    return message | {"payload": data}


def capacity_event(name=FAST, event_type="capacity.pool", **fields):
    data = {"name_to_id": name, "total": 100.0, "free": -20.0, "allocated": 120.0}
    data |= {"provisioned": 120.0, "virtual_free": -5.0} | fields
    return a_message(event_type, "none", {}, publisher_id="capacity.storage") | {"payload": data}


def machine_event(event_type, **fields):
    data = {
        "uuid": VOLUME,
        "name": "node",
        "power_state": "power on",
        "maintenance": False,
        "maintenance_reason": None,
        "extra": {"compute_node_id": "c"},
        "instance_uuid": None,
    } | fields
    message = a_message(event_type, "none", {}, publisher_id="ironic-conductor.h")
    return message | {
        "payload": {
            "ironic_object.name": "NodePayload",
            "ironic_object.namespace": "ironic",
            "ironic_object.version": "1.15",
            "ironic_object.data": data,
        }
    }


class Desk:
    """An inbox of a built model."""

    def __init__(self, kind, dialect, *rows, named=""):
        clock = FakeClock()
        self.live = LiveElements(kind, clock, named=named)
        self.inbox = Inbox(self.live, clock, dialect=dialect)
        self.live.publish([Delta(changes=[*map(Upsert, rows)], cause="sync")])
        self.live.mark_built()

    def receive(self, *messages):
        self.inbox.receive([enveloped(message) for message in messages])

    def wanted(self):
        servers, hosts = self.inbox.wanted.take()
        return sorted(servers), sorted(hosts)


def a_desk(*rows):
    return Desk("storage", cinder_events.dialect(TYPES), *rows, named=storage.POOL)


def a_volume(**fields):
    known = {"uuid": VOLUME, "name": "vol", "size_gb": 10, "status": "available", "pool": FAST}
    known |= {"project_id": "p", "volume_type": "fast", "created_at_s": 1767225600}
    return VolumeRow(**(known | fields))


def volume(desk):
    return desk.live.model.find(storage.VOLUME, VOLUME)


# -- storage events -----------------------------------------------------------------------------


@pytest.mark.req("C-073", "C-074")
def test_an_unknown_volume_is_added_and_read_and_its_pool_counted_again():
    desk = a_desk(PoolRow(name=FAST))
    desk.receive(volume_event("volume.create.end", glance_metadata=[{"key": "x"}]))
    assert volume(desk) == a_volume(bootable=True)
    assert desk.wanted() == ([VOLUME], [FAST])
    desk.receive(capacity_event())
    pool = desk.live.model.find(storage.POOL, FAST)
    assert (pool.volumes, pool.total_gb, pool.free_gb) == (1, 100.0, -20.0)
    assert (pool.allocated_gb, pool.virtual_free_gb) == (120.0, -5.0)


@pytest.mark.req("C-068", "C-074", "C-075")
@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"size": "20"}, {"size_gb": 20}),
        ({"host": None}, {"pool": ""}),
        ({"metadata": {"a": 1}}, {"metadata": {"a": "1"}}),
        ({"metadata": [{"key": "a", "value": "b"}]}, {"metadata": {"a": "b"}}),
        ({"status": "from-the-future"}, {"status": "from-the-future"}),
        ({"volume_type": "t-slow", "host": SLOW}, {"volume_type": "slow", "pool": SLOW}),
        ({"volume_type": "unknown"}, {}),
        (
            {"volume_attachment": [{"id": "a", "instance_uuid": "s", "attach_status": "attached"}]},
            {"attachments": (Attachment("s", "a"),)},
        ),
        (
            {"volume_attachment": [{"attachment_id": "a", "server_id": "s"}]},
            {"attachments": (Attachment("s", "a"),)},
        ),
        (
            {"volume_attachment": [{"id": "a", "instance_uuid": "s", "attach_status": "reserved"}]},
            {},
        ),
        ({"tenant_id": "60be612d-f325-46dd-94d3-28380bc65fbf"},
         {"project_id": "60be612d-f325-46dd-94d3-28380bc65fbf"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["volume.update.end", "volume.attach.end", "volume.retype"])
def test_a_known_volume_takes_over_what_an_event_tells_and_keeps_the_rest(kind, fields, changed):
    known = a_volume(multiattach=True, bootable=True, migration_status="success")
    desk = a_desk(known)
    desk.receive(volume_event(kind, **fields))
    kept = {"multiattach": True, "bootable": True, "migration_status": "success"}
    assert volume(desk) == a_volume(**(kept | changed))


def test_a_deleted_volume_is_gone_and_stays_so():
    desk = a_desk(a_volume())
    desk.receive(volume_event("volume.delete.end", status="deleted"))
    desk.receive(volume_event("volume.update.end"))
    assert volume(desk) is None
    assert desk.wanted() == ([], [FAST])


@pytest.mark.req("C-072")
def test_capacities_that_drivers_do_not_know_are_unknown_and_break_nothing():
    desk = a_desk(PoolRow(name=FAST, total_gb=5.0))
    desk.receive(capacity_event(total="infinite", free="unknown", allocated=None))
    pool = desk.live.model.find(storage.POOL, FAST)
    assert (pool.total_gb, pool.free_gb, pool.allocated_gb) == (None, None, None)
    said = {"total_capacity_gb": "infinite", "free_capacity_gb": float("nan")}
    row = pool_row(PoolRecord(name=FAST, capabilities=said), 0, None)
    assert (row.total_gb, row.free_gb, row.provisioned_gb) == (None, None, None)


def test_an_unknown_pool_is_asked_for_and_backends_are_ignored():
    desk = a_desk()
    desk.receive(capacity_event(), capacity_event("storage@fast", "capacity.backend"))
    assert desk.wanted() == ([], [FAST])


@pytest.mark.req("C-077")
def test_events_before_there_is_a_model_are_ignored():
    live = LiveElements("storage", FakeClock(), named=storage.POOL)
    inbox = Inbox(live, FakeClock(), dialect=cinder_events.dialect(TYPES))
    inbox.receive([enveloped(volume_event("volume.create.end")), enveloped(capacity_event())])
    assert live.model.counts[storage.VOLUME] == 0


@pytest.mark.req("C-065")
@pytest.mark.parametrize(
    "fields",
    [{"volume_id": "x"}, {"size": -1}, {"size": True}, {"status": None}, {"host": 5},
     {"metadata": [1]}, {"volume_attachment": [1]}, {"created_at": "never"}],
)  # fmt: skip
def test_malformed_volumes_change_nothing(fields):
    desk = a_desk(a_volume())
    desk.receive(volume_event("volume.update.end", **fields))
    assert volume(desk) == a_volume()


@pytest.mark.req("C-054", "C-074")
def test_the_captured_volume_story_is_followed(reference):
    desk = a_desk(PoolRow(name=FAST), PoolRow(name=SLOW))
    seen = []
    folder = reference / "data" / "captured-notifications"
    for path in sorted(folder.glob("*legacy-volume.*")) + sorted(folder.glob("*capacity.*")):
        document = json.loads(path.read_text())
        desk.inbox.receive([document["body"].encode()])
        if document["message"]["event_type"] in desk.inbox.dialect.table:
            payload = document["message"]["payload"]
            row = volume(desk)
            seen.append((document["message"]["event_type"], row and row.status))
            if row is not None:
                assert (row.status, row.size_gb) == (payload["status"], payload["size"])
                assert row.pool == payload["host"]
    kinds = [kind for kind, _ in seen]
    assert kinds.count("volume.attach.end") == 2
    assert ("volume.delete.end", None) in seen
    assert ("volume.retype", "available") in seen
    assert desk.live.model.find(storage.POOL, FAST).total_gb == 2000.0


# -- storage from a cloud -----------------------------------------------------------------------


@asynccontextmanager
async def a_cloud():
    async with running_fakecloud(
        CloudSpec(hosts=3, servers=4, volumes=12, volume_s=0, node_power_s=0)
    ) as cloud:
        entry = cloud.entry("admin")
        session = CloudSession(
            lambda: openstack.connection.Connection(**entry), retry=RetryPolicy(retries=0)
        )
        yield cloud, session
        await session.close()


def context(session):
    return Context(session=session, pool=GeneralPool(), clock=SystemClock(), periods_s={})


def differences(live, read):
    return read.changes_to(live.model)


@pytest.mark.req("C-001", "C-069", "C-071", "C-167")
async def test_the_storage_model_shows_cinder_and_follows_it():
    async with a_cloud() as (cloud, session):
        running = StoragePlugin().build(context(session))
        assert await running.wanted()
        await running.sync.step()
        model = running.live.model
        state = cloud.state.storage
        assert model.counts == {"storage_node": 2, "pool": 3, "volume": 12, "volume_type": 3}
        assert model.find(storage.NODE, "storage@fast") == StorageNodeRow(
            host="storage@fast", zone="nova", volume_types=("fast",)
        )
        for key, one in state.volumes.items():
            row = model.find(storage.VOLUME, key)
            assert (row.pool, row.size_gb, row.bootable) == (one.pool, one.size_gb, one.bootable)
        for pool in state.pools.values():
            row = model.find(storage.POOL, pool.name)
            taken = [v.size_gb for v in state.volumes.values() if v.pool == pool.name]
            assert (row.volumes, row.allocated_gb) == (len(taken), sum(taken))
            assert row.max_over_subscription_ratio == 1.5
        victim, moved, *_ = state.volumes.values()
        path = f"/volumes/{moved.id}/action"
        await session.send("DELETE", "block_storage", f"/volumes/{victim.id}")
        goal = {"os-migrate_volume": {"host": "storage@fast#pool1"}}
        await session.send("POST", "block_storage", path, body=goal)
        await running.sync.step()
        assert model.find(storage.VOLUME, victim.id) is None
        assert model.find(storage.VOLUME, moved.id).pool == "storage@fast#pool1"


@pytest.mark.req("C-076", "C-078")
async def test_a_hint_after_a_move_brings_the_volume_and_both_counters_up_to_date():
    async with a_cloud() as (cloud, session):
        running = StoragePlugin().build(context(session))
        await running.sync.step()
        one = next(v for v in cloud.state.storage.volumes.values() if v.pool == FAST)
        path = f"/volumes/{one.id}/action"
        goal = {"os-migrate_volume": {"host": "storage@fast#pool1"}}
        await session.send("POST", "block_storage", path, body=goal)
        running.served.reread([one.id])
        await running.rereads.step()
        assert running.live.model.find(storage.VOLUME, one.id).pool == "storage@fast#pool1"
        read = await StorageReader(_cinder(session)).read_all(running.live.model)
        assert differences(running.live, read) == []


def _cinder(session):
    from trimtab_common.openstack.cinder import Cinder

    return Cinder(session)


@pytest.mark.req("C-070")
async def test_a_host_without_a_backend_offers_no_types_and_breaks_nothing():
    class Old:
        async def services(self):
            return [
                VolumeServiceRecord(
                    host="old", zone="z", up=True, enabled=False, disabled_reason="x"
                )
            ]

        async def pools(self):
            return [PoolRecord(name="old#p")]

        async def volume_types(self):
            return [VolumeTypeRecord(id="1", name="any", extra_specs={"volume_backend_name": ""})]

        async def volumes(self):
            return []

    read = await StorageReader(Old()).read_all(storage.storage_model())
    assert read.elements[0] == StorageNodeRow(
        host="old", zone="z", enabled=False, disabled_reason="x"
    )


@pytest.mark.req("C-003", "C-168")
async def test_without_a_block_storage_service_there_is_no_storage_model():
    async with a_cloud() as (cloud, session):
        running = StoragePlugin().build(context(session))

        class Nothing:
            async def get(self, *_, **__):
                class Empty:
                    body = {"services": []}  # noqa: RUF012, never changed

                return Empty

        assert await running.wanted()
        assert not await StoragePlugin().build(context(Nothing())).wanted()
        assert cloud is not None


# -- baremetal ----------------------------------------------------------------------------------


@pytest.mark.req("C-004", "C-080", "C-082", "C-085")
async def test_the_baremetal_model_shows_ironic_and_follows_it():
    async with a_cloud() as (cloud, session):
        running = BaremetalPlugin().build(context(session))
        await running.sync.step()
        model, host = running.live.model, cloud.state.hosts["compute-1"]
        (row,) = [row for row in model.rows(baremetal.NODE) if row.human_id == "compute-1"]
        assert (row.compute_node_id, row.power_state) == (host.uuid, PowerState.ON)
        assert row.up_when_off
        power, off = f"/nodes/{row.uuid}/states/power", {"target": "power off"}
        await session.send("PUT", "baremetal", power, body=off, microversion="1.10")
        await running.sync.step()
        row = model.find(baremetal.NODE, row.uuid)
        assert (row.power_state, row.power_text) == (PowerState.OFF, "power off")
        assert host.state == "up"


@pytest.mark.req("C-172")
async def test_the_health_of_machines_and_whether_they_boot_from_volumes_is_read():
    async with a_cloud() as (cloud, session):
        cloud.state.hosts["compute-1"].machine_fault = "power failure"
        cloud.state.hosts["compute-2"].can_boot_from_volume = True
        running = BaremetalPlugin().build(context(session))
        await running.sync.step()
        rows = {row.human_id: row for row in running.live.model.rows(baremetal.NODE)}
        assert (rows["compute-1"].fault, rows["compute-1"].can_boot_from_volume) == (
            "power failure",
            False,
        )
        assert (rows["compute-2"].fault, rows["compute-2"].can_boot_from_volume) == ("", True)
        sent = elements_of(running.live.messages("initial"))
        assert {row.human_id: row for row in sent.rows(baremetal.NODE)} == rows


@pytest.mark.req("C-081")
async def test_a_machine_that_names_no_hypervisor_is_kept_with_a_warning():
    class Source:
        async def machines(self):
            from trimtab_common.openstack.ironic import machine_of

            return [machine_of({"uuid": "u", "power_state": None, "extra": {}})]

    read = await BaremetalReader(Source()).read_all(baremetal.baremetal_model())
    assert read.elements == [BaremetalNodeRow(uuid="u")]
    assert read.elements[0].power_state is PowerState.UNKNOWN


@pytest.mark.req("C-083", "C-172")
def test_machines_follow_their_events():
    desk = Desk("baremetal", IRONIC)
    desk.receive(machine_event("baremetal.node.create.end"))
    row = desk.live.model.find(baremetal.NODE, VOLUME)
    assert (row.power_state, row.compute_node_id, row.human_id) == (PowerState.ON, "c", "node")
    desk.receive(machine_event("baremetal.node.power_set.end", power_state="soft power off"))
    assert desk.live.model.find(baremetal.NODE, VOLUME).power_state is PowerState.OFF
    desk.receive(
        machine_event(
            "baremetal.node.maintenance_set.end", maintenance=True, maintenance_reason="r"
        ),
        machine_event("baremetal.node.power_set.end", maintenance="yes"),
        machine_event("baremetal.node.power_set.end", extra=[1]),
    )
    row = desk.live.model.find(baremetal.NODE, VOLUME)
    assert (row.maintenance, row.maintenance_reason) == (True, "r")
    desk.receive(
        machine_event(
            "baremetal.node.update.end", fault="clean failure", storage_interface="cinder"
        ),
        machine_event("baremetal.node.update.end", fault=3),
    )
    row = desk.live.model.find(baremetal.NODE, VOLUME)
    assert (row.fault, row.can_boot_from_volume) == ("clean failure", True)
    desk.receive(machine_event("baremetal.node.delete.end"))
    assert desk.live.model.find(baremetal.NODE, VOLUME) is None


@pytest.mark.req("C-084")
@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("power on", PowerState.ON),
        ("rebooting", PowerState.ON),
        ("soft reboot", PowerState.ON),
        ("power off", PowerState.OFF),
        ("soft power off", PowerState.OFF),
        ("error", PowerState.ERROR),
        (None, PowerState.UNKNOWN),
    ],
)
def test_what_ironic_calls_power(text, state):
    desk = Desk("baremetal", IRONIC)
    desk.receive(machine_event("baremetal.node.update.end", power_state=text))
    assert desk.live.model.find(baremetal.NODE, VOLUME).power_state is state


@pytest.mark.req("C-084", "C-162")
async def test_maas_machines_are_matched_to_hypervisors_by_their_name():
    def answer(request):
        assert "oauth_consumer_key=a" in request.headers["Authorization"]
        assert request.url.path == "/MAAS/api/2.0/machines/"
        return httpx.Response(
            200, json=[{"system_id": "abc", "fqdn": "h1", "power_state": "on"},
                       {"system_id": "def", "fqdn": "h9", "power_state": "strange",
                "status_name": "Failed testing"},
                {"system_id": "ghi", "fqdn": "h8", "power_state": "off", "status_name": "Broken"}],
        )  # fmt: skip

    class Nova:
        async def hypervisors(self):
            from test_compute_rows import a_hypervisor

            return [a_hypervisor("h1")]

    settings = MaasSettings(url="http://maas/MAAS", api_key="a:b:c")
    maas = Maas(settings, Nova(), transport=httpx.MockTransport(answer))
    read = await BaremetalReader(maas).read_all(baremetal.baremetal_model())
    first, second, third = read.elements
    assert (first.compute_node_id, first.power_state, first.up_when_off) == (
        "uuid-h1",
        PowerState.ON,
        False,
    )
    assert (second.compute_node_id, second.power_state) == ("", PowerState.UNKNOWN)
    assert (first.fault, second.fault, second.maintenance) == ("", "Failed testing", False)
    assert (third.fault, third.maintenance) == ("Broken", True)
    assert "c" not in repr(settings).partition("api_key")[2]
    await maas.close()
    with pytest.raises(InvalidArgument, match="CONSUMER:TOKEN:SECRET"):
        Maas(MaasSettings(url="http://maas", api_key="x"), Nova())


# -- both ---------------------------------------------------------------------------------------


ROWS = {
    "storage": [
        StorageNodeRow(host="storage@fast", zone="z", enabled=False, volume_types=("a", "b")),
        PoolRow(name=FAST, volumes=2, total_gb=None, free_gb=-1.5, max_over_subscription_ratio=1.5),
        a_volume(attachments=(Attachment("s", "a"),), metadata={"k": "v"}, multiattach=True),
    ],
    "baremetal": [
        BaremetalNodeRow(uuid="u", power_state=PowerState.OFF, extra={"a": {"b": 1}}, maintenance=True)
    ],
}  # fmt: skip


@pytest.mark.req("C-017", "C-117")
@pytest.mark.parametrize("kind", ROWS)
def test_a_model_comes_whole_over_the_wire_and_through_its_deltas(kind):
    live = LiveElements(kind, FakeClock())
    first, *rest = ROWS[kind]
    live.publish([Delta(changes=[Upsert(first)], cause="sync")])
    live.mark_built()
    copy = elements_of(live.messages("initial"))
    at = live.model.revision
    live.publish([Delta(changes=[*map(Upsert, rest)], cause="notification", event_id="e")])
    from trimtab.model.v1 import model_pb2

    while (entry := live.log.next_after(at)) is not None:
        for delta in model_pb2.WatchModelResponse.FromString(entry.data).deltas.deltas:
            copy.apply([change_of(change) for change in delta.changes])
        at = entry.last
    assert copy.digest() == live.model.digest()
    assert copy.snapshot().rows == live.model.snapshot().rows
    again = elements_of(live.messages("initial"))
    assert again.digest() == live.model.digest()


def test_the_mailroom_gives_each_inbox_its_events_and_the_first_one_the_rest():
    desk, machines = a_desk(a_volume()), Desk("baremetal", IRONIC)
    room = Mailroom([machines.inbox, desk.inbox])
    room.connected()
    room.receive(
        [
            enveloped(volume_event("volume.resize.end", size=30)),
            enveloped(machine_event("baremetal.node.create.end")),
            b"no message",
            enveloped(volume_event("volume.delete.start")),
        ]
    )
    assert volume(desk).size_gb == 30
    assert machines.live.model.counts[baremetal.NODE] == 1
    assert desk.inbox.flowing
    room.disconnected()
    assert not desk.inbox.flowing


@pytest.mark.req("C-002", "C-005")
def test_models_are_chosen_by_name():
    assert [plugin.name for plugin in chosen(("compute", "storage", "baremetal"))] == [
        "storage",
        "baremetal",
    ]
    with pytest.raises(
        InvalidArgument, match="names nothing; there are compute, baremetal, storage"
    ):
        chosen(("nothing",))
    assert asyncio.iscoroutinefunction(StorageReader.read_all)
