"""Nova's and Placement's records as rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.rows import host_row, server_row
from trimtab_common.domain.changes import (
    HostRow,
    RemoveHost,
    RemoveServer,
    SetHealth,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from trimtab_common.openstack.errors import CloudRefused
from trimtab_common.openstack.nova import (
    HypervisorRecord,
    Nova,
    ServerPage,
    ServerRecord,
    ServiceRecord,
)
from trimtab_common.openstack.placement import Inventory
from trimtab_common.openstack.session import Answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INVENTORIES = {
    "VCPU": Inventory(8, 2, 5.0),
    "MEMORY_MB": Inventory(1024, 24, 1.0),
    "DISK_GB": Inventory(100, 0, 1.0),
}


def a_server(number=1, **fields):
    defaults = {
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "complete": True,
        "vm_state": "active",
        "metadata": {},
        "extra_specs": {},
    }
    return ServerRecord(**(defaults | fields))


def a_hypervisor(host="h1", **fields):
    defaults = {
        "uuid": f"uuid-{host}",
        "host": host,
        "hostname": host,
        "kind": "QEMU",
        "up": True,
        "enabled": True,
        "disabled_reason": None,
        "vcpus": 4,
        "memory_mib": 512,
        "disk_gib": 50,
    }
    return HypervisorRecord(**(defaults | fields))


def a_service(host="h1", **fields):
    defaults = {"host": host, "zone": "az1", "up": True, "enabled": True, "disabled_reason": None}
    return ServiceRecord(**(defaults | fields))


@pytest.mark.req("C-033")
@pytest.mark.parametrize(
    ("from_image", "swap_mib", "disk_gib"),
    [(True, 0, 25), (False, 0, 5), (True, 1, 26), (False, 1024, 6), (False, 1025, 7)],
)
def test_disk_counts_root_of_images_only_and_swap_rounded_up(from_image, swap_mib, disk_gib):
    record = a_server(root_gib=20, ephemeral_gib=5, swap_mib=swap_mib, boots_from_image=from_image)
    assert server_row(record, extended=False).demand[2] == disk_gib


@pytest.mark.req("C-027")
@pytest.mark.parametrize(
    ("text", "state", "kept"),
    [
        ("active", ServerState.ACTIVE, ""),
        ("soft-delete", ServerState.SOFT_DELETED, ""),
        ("shelved_offloaded", ServerState.SHELVED_OFFLOADED, ""),
        ("levitating", ServerState.UNKNOWN, "levitating"),
    ],
)
def test_states_are_mapped_and_unknown_ones_kept_as_text(text, state, kept):
    row = server_row(a_server(vm_state=text), extended=False)
    assert (row.state, row.state_text) == (state, kept)


@pytest.mark.req("C-035")
def test_extended_attributes_are_kept_only_when_they_are_on():
    record = a_server(pinned_zone="az1", extra_specs={"a": "b"})
    off, on = (server_row(record, extended=extended) for extended in (False, True))
    assert (off.pinned_zone, off.extra_specs) == ("", {})
    assert (on.pinned_zone, on.extra_specs) == ("az1", {"a": "b"})


def test_a_host_takes_sizes_from_placement_and_state_from_its_service():
    service = a_service(enabled=False, disabled_reason="watcher_disabled")
    row = host_row(a_hypervisor(), service, INVENTORIES, None)
    assert (row.inventory, row.reserved) == ((8, 1024, 100), (2, 24, 0))
    assert row.ratio == (5.0, 1.0, 1.0)
    assert (row.enabled, row.disabled_reason, row.zone) == (False, "watcher_disabled", "az1")
    assert not row.capacity_from_nova


@pytest.mark.req("C-031")
def test_a_class_that_placement_lacks_comes_from_nova():
    partly = {name: INVENTORIES[name] for name in ("VCPU", "MEMORY_MB")}
    row = host_row(a_hypervisor(), a_service(), partly, None)
    assert (row.inventory, row.capacity_from_nova) == ((8, 1024, 50), True)


@pytest.mark.req("C-032")
def test_a_host_without_any_size_is_kept_and_takes_nothing():
    bare = a_hypervisor(vcpus=None, memory_mib=None, disk_gib=None)
    row = host_row(bare, a_service(), None, None)
    assert (row.inventory, row.capacity_from_nova) == ((0, 0, 0), True)
    known = host_row(a_hypervisor(), a_service(), INVENTORIES, None)
    assert host_row(bare, a_service(), None, known).inventory == (8, 1024, 100)


class FakeNova:
    """Lists that a test fills."""

    def __init__(self):
        self.hypervisor_list = [a_hypervisor("h1"), a_hypervisor("h2")]
        self.service_list = [a_service("h1"), a_service("h2")]
        self.server_list = [a_server(1, host="h1"), a_server(2, host="h2")]
        self.hypervisor_reads = 0
        self.group_list = []
        self.aggregate_list = ()
        self.lists = []

    async def check_version(self):
        pass

    async def hypervisors(self):
        self.hypervisor_reads += 1
        return self.hypervisor_list

    async def services(self):
        return self.service_list

    async def aggregates(self):
        return self.aggregate_list

    async def server_groups(self):
        if self.group_list is None:
            raise PermissionDenied("not for you")
        return self.group_list

    async def servers(self, _changed_since=None, *, host=""):
        self.lists.append(host)
        found = [record for record in self.server_list if host in ("", record.host)]
        yield ServerPage(tuple(found), NOW)

    async def server(self, uuid):
        for record in self.server_list:
            if record.uuid == uuid:
                return record
        raise NotFound("no such server")


class FakePlacement:
    """The same inventories for all; counts how many are asked for at once."""

    def __init__(self):
        self.unknown = set()
        self.away = set()
        self.now = self.most = 0

    async def inventories(self, provider):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if provider in self.unknown:
            raise NotFound("no such provider")
        if provider in self.away:
            raise Unavailable("503")
        return INVENTORIES


def a_reader():
    nova, placement = FakeNova(), FakePlacement()
    return ComputeReader(nova, placement), nova, placement


@pytest.mark.req("C-034")
async def test_ironic_hypervisors_and_deleted_servers_are_left_out():
    reader, nova, _ = a_reader()
    nova.hypervisor_list.append(a_hypervisor("metal", kind="ironic"))
    nova.server_list.append(a_server(3, vm_state="deleted"))
    read = await reader.read_all(ComputeModel())
    assert [row.hostname for row in read.hosts] == ["h1", "h2"]
    assert len(read.servers) == 2


@pytest.mark.req("C-042")
async def test_hosts_of_unknown_size_are_named_and_the_model_is_partial():
    reader, nova, placement = a_reader()
    nova.hypervisor_list[1] = a_hypervisor("h2", vcpus=None, memory_mib=None, disk_gib=None)
    placement.unknown.add("uuid-h2")
    read = await reader.read_all(ComputeModel())
    assert read.health == SetHealth(partial=True, missing_hosts=("h2",))


@pytest.mark.req("C-032")
async def test_placement_is_asked_again_for_hosts_without_an_answer():
    reader, nova, placement = a_reader()
    nova.hypervisor_list[1] = a_hypervisor("h2", vcpus=None, memory_mib=None, disk_gib=None)
    placement.unknown.add("uuid-h2")
    read = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(read.hosts, read.servers)
    model.apply([read.health])
    assert await thorough_changes(reader, model) == []
    placement.unknown.clear()
    changes = await thorough_changes(reader, model)
    model.apply(changes)
    assert model.find_host("h2").inventory == (8, 1024, 100)
    assert model.health == SetHealth()
    assert await thorough_changes(reader, model) == []


@pytest.mark.req("C-042")
async def test_a_host_for_which_placement_fails_keeps_its_size_and_is_named_until_it_answers():
    reader, _, placement = a_reader()
    first = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(first.hosts, first.servers)
    placement.away.add("uuid-h2")
    read = await reader.read_all(model)
    assert [row.inventory for row in read.hosts] == [row.inventory for row in first.hosts]
    assert [row.ratio for row in read.hosts] == [row.ratio for row in first.hosts]
    assert read.health == SetHealth(partial=True, missing_hosts=("h2",))
    model.apply([read.health])
    placement.away.clear()
    model.apply(await thorough_changes(reader, model))
    assert model.health == SetHealth()
    assert (await reader.read_all(model)).health == SetHealth()


async def thorough_changes(reader, model):
    read = await reader.read_changes(model, NOW, thorough=True)
    return [change for change in read.changes if not isinstance(change, UpsertServer)]


@pytest.mark.req("C-042")
async def test_a_server_whose_cell_is_away_keeps_what_is_known():
    reader, nova, _ = a_reader()
    first = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(first.hosts, first.servers)
    nova.server_list[0] = a_server(1, complete=False)
    read = await reader.read_all(model)
    assert read.servers == first.servers
    assert read.health.partial


@pytest.mark.req("C-042")
async def test_a_host_whose_cell_is_away_keeps_what_is_known_and_is_named():
    reader, nova, _ = a_reader()
    first = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(first.hosts, first.servers)
    nova.hypervisor_list.pop()
    nova.service_list[1] = a_service("h2", complete=False, up=False, enabled=False)
    assert await changes_of(reader, model) == []
    read = await reader.read_all(model)
    assert read.hosts == first.hosts
    assert read.health == SetHealth(partial=True, missing_hosts=("h2",))


async def test_an_answer_that_is_not_understood_is_a_typed_error():
    class Api:
        async def max_microversion(self, _service):
            return (2, 96)

        async def get(self, *_args, **_options):
            return Answer(200, {"services": [{"no host": 1}]}, NOW)

    with pytest.raises(CloudRefused, match=r"Nova's services: .*KeyError: 'host'"):
        await Nova(Api()).services()


@pytest.mark.req("C-062")
async def test_a_new_service_is_asked_for_until_its_hypervisor_is_there():
    reader, nova, _ = a_reader()
    read = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(read.hosts, read.servers)
    nova.service_list.append(a_service("h3"))
    nova.hypervisor_reads = 0
    for _ in range(8):
        assert await changes_of(reader, model) == []
    assert nova.hypervisor_reads == 4  # at the 1st, 2nd, 4th and 8th poll
    nova.hypervisor_list.append(a_hypervisor("h3"))
    found = [change for _ in range(8) for change in await changes_of(reader, model)]
    assert found
    assert isinstance(found[0], UpsertHost)
    assert found[0].row.hostname == "h3"
    model.apply(found[:1])
    assert await changes_of(reader, model) == []


async def test_a_host_whose_service_is_gone_leaves_but_never_all_at_once():
    reader, nova, _ = a_reader()
    read = await reader.read_all(ComputeModel())
    model = ComputeModel.from_rows(read.hosts, read.servers)
    nova.service_list.pop()
    assert await changes_of(reader, model) == [RemoveHost("h2")]
    nova.service_list.clear()
    assert await changes_of(reader, model) == []


async def changes_of(reader, model):
    read = await reader.read_changes(model, NOW, thorough=False)
    return [change for change in read.changes if hasattr(change, "hostname") or is_host(change)]


def is_host(change):
    return isinstance(getattr(change, "row", None), HostRow)


@pytest.mark.req("C-163")
async def test_an_api_that_is_too_old_is_refused():
    class Api:
        async def max_microversion(self, _service):
            return (2, 55)

    with pytest.raises(FailedPrecondition, match=r"2\.55; 2\.56 or newer"):
        await Nova(Api()).check_version()


@pytest.mark.req("C-034")
@pytest.mark.parametrize(
    ("state", "terminated"), [("deleted", True), ("soft-delete", False), ("error", True)]
)
async def test_what_a_whole_list_leaves_out_is_removed_by_changes_and_by_a_reread(
    state, terminated
):
    reader, nova, _ = a_reader()
    model = ComputeModel.from_rows([], (await reader.read_all(ComputeModel())).servers)
    gone = nova.server_list[0] = a_server(1, host="h1", vm_state=state, terminated=terminated)
    read = await reader.read_changes(model, NOW, thorough=False)
    assert RemoveServer(gone.uuid) in read.changes
    assert await reader.read_elements(model, servers=[gone.uuid], hosts=[]) == [
        RemoveServer(gone.uuid)
    ]


@pytest.mark.req("C-058", "C-062")
async def test_single_elements_are_read_as_they_are_in_a_whole_read():
    reader, nova, _ = a_reader()
    whole = await reader.read_all(ComputeModel())
    known = nova.server_list[1].uuid
    changes = await reader.read_elements(
        ComputeModel(), servers=[known, "unknown"], hosts=["h2", "not-there"]
    )
    assert sorted(changes, key=repr) == sorted(
        [UpsertHost(whole.hosts[1]), UpsertServer(whole.servers[1]), RemoveServer("unknown")],
        key=repr,
    )
