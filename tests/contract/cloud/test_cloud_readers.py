"""Our own readers say what openstacksdk's resource objects say."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import openstack
import pytest
import structlog
from cloud_places import image_of

from trimtab_common.domain.errors import NotFound
from trimtab_common.openstack.cinder import Cinder
from trimtab_common.openstack.ironic import Ironic
from trimtab_common.openstack.keystone import Keystone
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement, known
from trimtab_common.openstack.session import CloudSession


@pytest.fixture
async def session(entry):
    """As the service logs in."""
    made = CloudSession(lambda: openstack.connection.Connection(**entry("watcher")))
    yield made
    await made.close()


@pytest.fixture
def nova(session):
    return Nova(session)


async def all_servers(nova, since=None):
    return {r.uuid: r async for page in nova.servers(since) for r in page.servers}


@pytest.mark.req("C-163")
async def test_this_nova_is_new_enough(nova):
    await nova.check_version()


@pytest.mark.req("C-170")
async def test_hypervisors_with_their_sizes(nova, conn):
    read = {r.uuid: r for r in await nova.hypervisors()}
    # not the SDK's objects, which warn of the fields that 2.88 has taken away
    answer = conn.compute.get("/os-hypervisors/detail", microversion="2.87").json()
    shown = {h["id"]: h for h in answer["hypervisors"]}
    assert read.keys() == shown.keys()
    for key, row in read.items():
        host = shown[key]
        assert (row.hostname, row.host) == (
            host["hypervisor_hostname"],
            host["service"]["host"],
        )
        assert (row.up, row.enabled) == (host["state"] == "up", host["status"] == "enabled")
        assert (row.vcpus, row.memory_mib, row.disk_gib) == (
            host["vcpus"],
            host["memory_mb"],
            host["local_gb"],
        )
        assert row.vcpus > 0


async def test_services_with_their_reasons(nova, conn):
    chosen = next(conn.compute.services(binary="nova-compute"))
    conn.compute.disable_service(chosen, disabled_reason="watcher_disabled")
    read = {r.host: r for r in await nova.services()}
    shown = {s.host: s for s in conn.compute.services(binary="nova-compute")}
    conn.compute.enable_service(chosen)
    assert read.keys() == shown.keys()
    for host, row in read.items():
        said = shown[host]
        assert (row.enabled, row.up) == (said.status == "enabled", said.state == "up")
        assert (row.zone, row.disabled_reason) == (said.availability_zone, said.disabled_reason)
        assert row.complete
    assert read[chosen.host].disabled_reason == "watcher_disabled"


async def test_servers_with_their_flavors_and_places(nova, conn, active):
    read = await all_servers(nova)
    assert active.id in read
    shown = {s.id: s for s in conn.compute.servers(all_projects=True)}
    assert read.keys() == shown.keys()
    for key, row in read.items():
        said = shown[key]
        assert (row.name, row.host, row.vm_state) == (
            said.name,
            said.compute_host or "",
            said.vm_state,
        )
        assert (row.vcpus, row.memory_mib, row.root_gib) == (
            said.flavor.vcpus,
            said.flavor.ram,
            said.flavor.disk,
        )
        assert row.boots_from_image == bool(said.image and said.image.id)
        assert (row.project_id, row.metadata) == (said.project_id, said.metadata)
        assert row.complete
        assert row.created_at == datetime.fromisoformat(said.created_at)


async def test_a_deleted_server_is_among_what_changed(nova, conn, active, eventually):
    since = datetime.now(UTC) - timedelta(seconds=60)
    conn.compute.delete_server(active.id)
    eventually(lambda: conn.compute.get(f"/servers/{active.id}").status_code == 404)
    record = (await all_servers(nova, since))[active.id]
    assert (record.vm_state, record.terminated) == ("deleted", True)
    assert active.id not in await all_servers(nova)


async def test_aggregates_with_their_zones(nova, conn):
    read = {(a.name, a.zone, a.hosts) for a in await nova.aggregates()}
    shown = {(a.name, a.availability_zone, frozenset(a.hosts)) for a in conn.compute.aggregates()}
    assert read == shown


@pytest.mark.req("C-170")
async def test_inventories_of_a_host(session, conn):
    provider = next(conn.placement.resource_providers())
    read = await Placement(session).inventories(provider.id)
    shown = {i.resource_class: i for i in conn.placement.resource_provider_inventories(provider)}
    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= read.keys() == shown.keys()
    for name, row in read.items():
        said = shown[name]
        assert (row.total, row.reserved) == (said.total, said.reserved)
        assert row.ratio == said.allocation_ratio
    with pytest.raises(NotFound):
        await Placement(session).inventories(str(uuid.uuid4()))


@pytest.mark.req("C-166")
async def test_all_seven_reads_of_placement(session, conn, active):
    placement = Placement(session)
    (provider,) = await placement.resource_providers(name=active.compute_host)
    shown = {
        p.id: (p.name, p.parent_provider_id or "") for p in conn.placement.resource_providers()
    }
    found = await placement.resource_providers()
    assert {p.uuid: (p.name, p.parent_uuid) for p in found} == shown
    assert (await placement.resource_classes()) == {
        c.name for c in conn.placement.resource_classes()
    }
    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= (await placement.inventories(provider.uuid)).keys()
    said = conn.placement.get(f"/resource_providers/{provider.uuid}/traits", microversion="1.29")
    assert await placement.traits(provider.uuid) == set(said.json()["traits"])
    held = (await placement.allocations(active.id))[provider.uuid]
    assert (held["VCPU"], held["MEMORY_MB"]) == (active.flavor.vcpus, active.flavor.ram)
    used = await placement.usages(provider.uuid)
    assert used["VCPU"] >= held["VCPU"]
    assert used["MEMORY_MB"] >= held["MEMORY_MB"]
    wanted = {"VCPU": 1, "MEMORY_MB": 64}
    candidates = await placement.allocation_candidates(wanted, limit=2)
    assert 0 < len(candidates) <= 2
    for candidate in candidates:
        assert candidate.takes.keys() <= shown.keys()
        assert list(candidate.takes.values()) == [wanted]
    assert await placement.allocation_candidates({"VCPU": 100_000}) == []


@pytest.mark.req("C-166")
async def test_what_placement_refuses_is_none_for_who_can_do_without(session):
    placement, nobody = Placement(session), str(uuid.uuid4())
    with structlog.testing.capture_logs() as logs:
        assert await known(placement.usages(nobody), "usages") is None
        assert await known(placement.allocations(nobody), "allocations") == {}
    (line,) = logs
    assert (line["log_level"], line["what"]) == ("error", "usages")
    assert "404" in line["problem"]


@pytest.mark.req("C-165")
async def test_hypervisors_with_their_servers_by_uuid_and_in_the_list(nova, active):
    listed = {row.host: row for row in await nova.hypervisors(with_servers=True)}
    one = listed[active.compute_host]
    assert active.id in one.servers
    assert await nova.hypervisor(one.uuid) == one
    assert all(row.servers == () for row in await nova.hypervisors())
    with pytest.raises(NotFound):
        await nova.hypervisor(str(uuid.uuid4()))


@pytest.mark.req("C-165")
async def test_servers_of_all_projects_by_host_and_by_uuid(nova, active):
    here = {
        row.uuid: row
        async for page in nova.servers(host=active.compute_host)
        for row in page.servers
    }
    assert {row.host for row in here.values()} == {active.compute_host}
    assert await nova.server(active.id) == here[active.id]
    everywhere = await all_servers(nova)
    assert here.keys() <= everywhere.keys()
    with pytest.raises(NotFound):
        await nova.server(str(uuid.uuid4()))


@pytest.mark.req("C-165")
async def test_flavors_that_are_not_public_too(nova, conn):
    read = {row.id: row for row in await nova.flavors()}
    shown = {flavor.id: flavor for flavor in conn.compute.flavors(is_public=None)}
    assert read.keys() == shown.keys()
    for key, row in read.items():
        said = shown[key]
        assert (row.name, row.vcpus, row.memory_mib) == (said.name, said.vcpus, said.ram)
        assert (row.root_gib, row.ephemeral_gib) == (said.disk, said.ephemeral or 0)
        assert row.is_public == said.is_public


# -- server groups ------------------------------------------------------------------------------


@pytest.fixture
def group(conn):
    """A server group of our own, gone after the test."""
    body = {"name": "tt-apart", "policy": "anti-affinity", "rules": {"max_server_per_host": 2}}
    made = conn.compute.post(
        "/os-server-groups", json={"server_group": body}, microversion="2.64"
    ).json()["server_group"]
    yield made
    conn.compute.delete(f"/os-server-groups/{made['id']}")


@pytest.mark.req("C-037")
async def test_server_groups_of_all_projects(nova, group):
    (row,) = [row for row in await nova.server_groups() if row.uuid == group["id"]]
    assert (row.name, row.policy, row.max_per_host) == ("tt-apart", "anti-affinity", 2)
    assert (row.members, row.project_id) == (frozenset(), group["project_id"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "x", "policy": "nope"}, "is not one of"),
        (
            {"name": "x", "policy": "affinity", "rules": {"max_server_per_host": 2}},
            "Only anti-affinity policy supports rules.",
        ),
        ({"policy": "affinity"}, "'name' is a required property"),
    ],
)
def test_a_server_group_that_cannot_be_is_refused(conn, body, words):
    answer = conn.compute.post(
        "/os-server-groups", json={"server_group": body}, microversion="2.64"
    )
    assert (answer.status_code, words in answer.text) == (400, True)


def test_a_server_group_that_is_gone_is_not_found(conn, group):
    assert conn.compute.delete(f"/os-server-groups/{group['id']}").status_code == 204
    answer = conn.compute.get(f"/os-server-groups/{group['id']}", microversion="2.64")
    assert answer.status_code == 404


@pytest.mark.fake_only
async def test_a_server_joins_the_group_that_its_hints_name_and_leaves_by_its_deletion(
    nova, conn, group, eventually
):
    server = {
        "name": "tt-grouped",
        "flavorRef": next(iter(conn.compute.flavors())).id,
        "imageRef": image_of(conn),
        "networks": "none",
    }
    hints = {"server": server, "os:scheduler_hints": {"group": group["id"]}}
    made = conn.compute.post("/servers", json=hints, microversion="2.64").json()["server"]["id"]
    (row,) = [row for row in await nova.server_groups() if row.uuid == group["id"]]
    assert row.members == {made}
    shown = conn.compute.get(f"/servers/{made}", microversion="2.100").json()["server"]
    assert shown["scheduler_hints"] == {"group": group["id"]}
    assert shown["server_groups"] == [group["id"]]
    conn.compute.delete_server(made)
    eventually(lambda: conn.compute.get(f"/servers/{made}").status_code == 404)
    (row,) = [row for row in await nova.server_groups() if row.uuid == group["id"]]
    assert row.members == frozenset()


# -- block storage ------------------------------------------------------------------------------


@pytest.fixture
def cinder(session):
    return Cinder(session)


@pytest.mark.req("C-167", "C-170")
async def test_volume_services_pools_and_types(cinder, conn):
    services = {row.host: row for row in await cinder.services()}
    shown = {s.host: s for s in conn.block_storage.services(binary="cinder-volume")}
    assert services.keys() == shown.keys() == {"storage@fast", "storage@slow"}
    for host, row in services.items():
        said = shown[host]
        assert (row.up, row.enabled) == (said.state == "up", said.status == "enabled")
        assert row.zone == said.availability_zone
    pools = {row.name: row.capabilities for row in await cinder.pools()}
    assert pools.keys() == {"storage@fast#pool0", "storage@fast#pool1", "storage@slow#pool0"}
    for name, said in pools.items():
        assert said["volume_backend_name"] == name.partition("@")[2].partition("#")[0]
        assert said["total_capacity_gb"] > 0
        assert float(said["max_over_subscription_ratio"]) == 1.5
    types = {row.name: row.extra_specs for row in await cinder.volume_types()}
    assert types["fast"] == {"volume_backend_name": "fast"}
    assert types["slow"] == {"volume_backend_name": "slow"}


@pytest.mark.req("C-167")
async def test_volumes_of_all_projects(cinder, conn, eventually):
    made = conn.block_storage.create_volume(size=1, name="tt-volume", volume_type="fast")
    try:
        eventually(lambda: conn.block_storage.get_volume(made.id).status == "available")
        read = {row.uuid: row for row in await cinder.volumes()}
        shown = {v.id: v for v in conn.block_storage.volumes(all_projects=True)}
        assert read.keys() == shown.keys()
        row, said = read[made.id], shown[made.id]
        assert (row.name, row.size_gb, row.status) == ("tt-volume", 1, "available")
        assert (row.host, row.volume_type) == (said.host, "fast")
        assert (row.project_id, row.bootable) == (said.project_id, said.is_bootable)
        assert (row.attachments, row.multiattach) == ((), False)
        assert await cinder.volume(made.id) == row
    finally:
        conn.block_storage.delete_volume(made.id)
    eventually(lambda: conn.block_storage.get(f"/volumes/{made.id}").status_code == 404)
    with pytest.raises(NotFound):
        await cinder.volume(made.id)


@pytest.mark.req("C-003", "C-168", "C-170")
async def test_keystone_knows_one_service_of_each_kind(session):
    keystone = Keystone(session)
    assert await keystone.is_service_enabled("compute")
    assert not await keystone.is_service_enabled("nothing-of-the-kind")


# -- baremetal ----------------------------------------------------------------------------------


@pytest.mark.fake_only
@pytest.mark.req("C-082", "C-170")
async def test_machines_with_their_power(session, conn):
    ironic = Ironic(session)
    machines = {row.name: row for row in await ironic.machines()}
    hypervisors = {h.name: h.id for h in conn.compute.hypervisors()}
    assert machines.keys() == hypervisors.keys()
    for name, row in machines.items():
        assert (row.compute_node_id, row.power_state.value) == (hypervisors[name], "on")
    one = machines["compute-1"]
    path = f"/nodes/{one.uuid}/states/power"
    assert conn.baremetal.put(path, json={"target": "power off"}).status_code == 202
    for _ in range(100):
        if (await ironic.machine(one.uuid)).power_state.value == "off":
            break
        await asyncio.sleep(0.05)
    assert (await ironic.machine(one.uuid)).power_state.value == "off"
    with pytest.raises(NotFound):
        await ironic.machine(str(uuid.uuid4()))
