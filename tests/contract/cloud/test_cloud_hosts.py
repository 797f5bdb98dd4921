import uuid

import pytest

DISABLED = "COMPUTE_STATUS_DISABLED"


@pytest.fixture
def service(conn):
    return next(conn.compute.services(binary="nova-compute"))


def traits_of(conn, host):
    provider = next(conn.placement.resource_providers(name=host))
    return conn.placement.get(f"/resource_providers/{provider.id}/traits").json()["traits"]


def hypervisor(conn, host, version="2.96", **query):
    listed = conn.compute.get("/os-hypervisors/detail", params=query, microversion=version)
    rows = listed.json()["hypervisors"]
    return next(row for row in rows if row["hypervisor_hostname"] == host)


def test_disabling_a_host_shows_in_nova_and_in_placement(conn, service):
    conn.compute.disable_service(service, disabled_reason="watcher_disabled")
    shown = next(conn.compute.services(host=service.host, binary="nova-compute"))
    assert (shown.status, shown.disabled_reason) == ("disabled", "watcher_disabled")
    row = hypervisor(conn, service.host)
    assert row["status"] == "disabled"
    assert row["service"]["disabled_reason"] == "watcher_disabled"
    assert DISABLED in traits_of(conn, service.host)
    conn.compute.enable_service(service)
    shown = next(conn.compute.services(host=service.host, binary="nova-compute"))
    assert (shown.status, shown.disabled_reason) == ("enabled", None)
    assert DISABLED not in traits_of(conn, service.host)


def test_forced_down_is_down_until_it_is_taken_back(conn, service):
    for forced, state in ((True, "down"), (False, "up")):
        conn.compute.update_service_forced_down(service, forced=forced)
        assert hypervisor(conn, service.host)["state"] == state


def test_before_2_53_services_are_changed_by_verb(conn, service):
    body = {"host": service.host, "binary": "nova-compute", "disabled_reason": "why"}
    put = conn.compute.put(
        "/os-services/disable-log-reason", json=body, microversion="2.52"
    ).json()["service"]
    assert put == {**body, "status": "disabled"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"status": "broken"}, 400),
        ({"status": "enabled", "disabled_reason": "no"}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_a_service_update_must_make_sense(conn, service, body, status):
    assert conn.compute.put(f"/os-services/{service.id}", json=body).status_code == status


def test_an_unknown_service_is_not_found_and_no_uuid_is_bad(conn):
    body = {"status": "enabled"}
    assert conn.compute.put(f"/os-services/{uuid.uuid4()}", json=body).status_code == 404
    assert conn.compute.put("/os-services/17", json=body).status_code == 400


def test_hypervisors_had_sizes_until_2_87(conn, service):
    old = hypervisor(conn, service.host, "2.87")
    assert {"vcpus", "memory_mb", "local_gb", "running_vms"} <= set(old)
    new = hypervisor(conn, service.host, "2.88")
    assert not {"vcpus", "memory_mb", "local_gb", "running_vms"} & set(new)
    assert "uptime" in new


def test_hypervisors_have_uuids_from_2_53_on(conn, service):
    assert isinstance(hypervisor(conn, service.host, "2.52")["id"], int)
    row = hypervisor(conn, service.host, "2.53")
    assert str(uuid.UUID(row["id"])) == row["id"]
    assert row["service"]["id"] == service.id


def test_hypervisors_tell_their_servers_when_asked(conn, active):
    row = hypervisor(conn, active.compute_host, with_servers="true")
    assert active.id in {s["uuid"] for s in row["servers"]}
    assert "servers" not in hypervisor(conn, active.compute_host)


def test_the_hypervisor_s_uuid_is_its_provider_s(conn, service):
    provider = next(conn.placement.resource_providers(name=service.host))
    assert hypervisor(conn, service.host)["id"] == provider.id


def test_zones_are_made_by_aggregates(conn):
    zones = {a.availability_zone: set(a.hosts) for a in conn.compute.aggregates()}
    for service in conn.compute.services(binary="nova-compute"):
        assert service.host in zones[service.availability_zone]


def test_a_host_is_added_to_an_aggregate_and_removed(conn, service):
    aggregate = conn.compute.create_aggregate(name=f"tt-{uuid.uuid4().hex[:8]}")
    added = conn.compute.add_host_to_aggregate(aggregate, service.host)
    removed = conn.compute.remove_host_from_aggregate(aggregate, service.host)
    conn.compute.delete_aggregate(aggregate)
    assert service.host in added.hosts
    assert service.host not in removed.hosts


def test_a_host_is_in_one_zone(conn, service):
    other = next(a for a in conn.compute.aggregates() if service.host not in a.hosts)
    assert other.availability_zone
    body = {"add_host": {"host": service.host}}
    answer = conn.compute.post(f"/os-aggregates/{other.id}/action", json=body)
    assert answer.status_code == 409
    said = answer.json()["conflictingRequest"]["message"]
    assert said.startswith(f"Cannot add host to aggregate {other.id}. Reason: ")


@pytest.mark.parametrize("path", ["/os-hypervisors/detail", "/os-services", "/os-aggregates"])
def test_only_admins_see_hosts(login, path):
    answer = login("reader").compute.get(path)
    assert answer.status_code == 403
    assert answer.json()["forbidden"]["message"].startswith("Policy doesn't allow")


def test_inventories_and_usages_of_a_provider(conn, active):
    provider = next(conn.placement.resource_providers(name=active.compute_host))
    base = f"/resource_providers/{provider.id}"
    inventories = conn.placement.get(f"{base}/inventories").json()["inventories"]
    assert set(inventories) == {"VCPU", "MEMORY_MB", "DISK_GB"}
    usages = conn.placement.get(f"{base}/usages").json()["usages"]
    held = conn.placement.get(f"{base}/allocations").json()["allocations"]
    assert usages["VCPU"] == sum(a["resources"].get("VCPU", 0) for a in held.values())
    assert held[active.id]["resources"]["MEMORY_MB"] == active.flavor.ram


def test_allocation_candidates_have_room(conn):
    wanted = "VCPU:1,MEMORY_MB:1024,DISK_GB:10"
    answer = conn.placement.get(f"/allocation_candidates?resources={wanted}").json()
    assert len(answer["allocation_requests"]) == len(answer["provider_summaries"]) > 0
    too_much = conn.placement.get("/allocation_candidates?resources=VCPU:9999").json()
    assert too_much == {"allocation_requests": [], "provider_summaries": {}}


def test_placement_s_errors_are_its_own(conn):
    answer = conn.placement.get(f"/resource_providers/{uuid.uuid4()}")
    assert answer.status_code == 404
    error = answer.json()["errors"][0]
    assert (error["status"], error["title"]) == (404, "Not Found")
    assert error["request_id"] == answer.headers["x-openstack-request-id"]
    assert conn.placement.get("/resource_providers?resources=x").status_code == 400
