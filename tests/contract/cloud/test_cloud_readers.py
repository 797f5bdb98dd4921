"""Our own readers say what openstacksdk's resource objects say."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import openstack
import pytest

from trimtab_common.domain.errors import NotFound
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
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
    assert (await all_servers(nova, since))[active.id].vm_state == "deleted"
    assert active.id not in await all_servers(nova)


async def test_aggregates_with_their_zones(nova, conn):
    read = {(a.name, a.zone, a.hosts) for a in await nova.aggregates()}
    shown = {(a.name, a.availability_zone, frozenset(a.hosts)) for a in conn.compute.aggregates()}
    assert read == shown


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
