import dataclasses
import itertools
import uuid

import openstack.exceptions as sdk
import pytest
from cloud_places import image_of


def rows(conn, query, version="2.96"):
    answer = conn.compute.get(f"/servers/detail?{query}", microversion=version)
    assert answer.status_code == 200, answer.text
    return answer.json()["servers"]


class TestSmallPages:
    @pytest.fixture
    def spec(self, spec):
        return dataclasses.replace(spec, page_limit=7)

    def test_paging_gives_every_server_once(self, conn):
        servers = list(conn.compute.servers(all_projects=True))
        assert len(servers) == len({s.id for s in servers}) == 24

    def test_a_smaller_limit_gives_the_same_servers_in_the_same_order(self, conn):
        whole = [s.id for s in conn.compute.servers(all_projects=True)]
        assert [s.id for s in conn.compute.servers(all_projects=True, limit=5)] == whole

    def test_hypervisors_are_paged_too(self, conn):
        hosts = [h.name for h in conn.compute.hypervisors(details=True, limit=4)]
        assert len(hosts) == len(set(hosts)) == 6


def test_an_unknown_marker_is_a_bad_request(conn):
    answer = conn.compute.get(f"/servers/detail?all_tenants=1&marker={uuid.uuid4()}")
    assert answer.status_code == 400
    assert "marker" in answer.json()["badRequest"]["message"]


def test_the_host_filter_gives_the_servers_of_one_host(conn, active):
    found = rows(conn, f"all_tenants=1&host={active.compute_host}")
    assert active.id in {row["id"] for row in found}
    assert {row["OS-EXT-SRV-ATTR:host"] for row in found} == {active.compute_host}


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("2.1", ["OS-EXT-SRV-ATTR:host"], ["locked", "description", "tags"]),
        ("2.9", ["locked"], ["host_status"]),
        ("2.46", ["host_status"], []),
        ("2.73", ["locked_reason"], ["pinned_availability_zone"]),
        ("2.96", ["pinned_availability_zone"], []),
    ],
)
def test_fields_come_with_their_microversion(conn, active, version, present, absent):
    row = next(r for r in rows(conn, "all_tenants=1", version) if r["id"] == active.id)
    assert set(present) <= set(row)
    assert not set(absent) & set(row)


def test_the_flavor_is_embedded_from_2_47_on(conn, active):
    by_version = {
        version: conn.compute.get(f"/servers/{active.id}", microversion=version).json()["server"]
        for version in ("2.46", "2.47")
    }
    assert set(by_version["2.46"]["flavor"]) == {"id", "links"}
    assert by_version["2.47"]["flavor"] == {
        "vcpus": active.flavor.vcpus,
        "ram": active.flavor.ram,
        "disk": active.flavor.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": active.flavor.name,
        "extra_specs": {},
    }


def test_an_unknown_filter_is_refused_from_2_75_on(conn):
    for version, status in (("2.74", 200), ("2.75", 400)):
        answer = conn.compute.get("/servers/detail?colour=red", microversion=version)
        assert answer.status_code == status


def test_a_version_out_of_range_is_not_acceptable(conn):
    answer = conn.compute.get("/servers", microversion="2.999")
    assert answer.status_code == 406
    newest = conn.compute.get_endpoint_data().max_microversion
    assert f"maximum is {newest[0]}.{newest[1]}" in answer.json()["computeFault"]["message"]


def test_the_negotiated_version_is_said_in_the_headers(conn):
    answer = conn.compute.get("/servers", microversion="2.53")
    assert answer.headers["OpenStack-API-Version"] == "compute 2.53"
    assert answer.headers["X-OpenStack-Nova-API-Version"] == "2.53"
    assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_a_server_that_is_not_there_is_not_found(conn):
    missing = str(uuid.uuid4())
    answer = conn.compute.get(f"/servers/{missing}")
    assert answer.status_code == 404
    message = f"Instance {missing} could not be found."
    assert answer.json() == {"itemNotFound": {"code": 404, "message": message}}


def test_a_created_server_lands_on_the_host_that_was_asked_for(conn, eventually):
    flavor = next(f for f in conn.compute.flavors() if f.name == "m1.tiny")
    host = next(conn.compute.hypervisors()).name
    server = conn.compute.create_server(
        name="tt-new",
        flavor_id=flavor.id,
        image_id=image_of(conn),
        networks="none",
        host=host,
        metadata={"a": "b"},
    )
    eventually(lambda: conn.compute.get_server(server.id).status == "ACTIVE")
    shown = conn.compute.get_server(server.id)
    assert shown.compute_host == host
    assert shown.metadata == {"a": "b"}
    assert shown.image.id == image_of(conn)
    conn.compute.delete_server(server.id)


def test_a_server_needs_an_image_or_a_volume(conn):
    flavor = next(iter(conn.compute.flavors()))
    body = {"server": {"name": "tt-new", "flavorRef": flavor.id, "networks": "none"}}
    answer = conn.compute.post("/servers", json=body)
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"] == "Missing imageRef attribute"


def test_a_server_that_fits_nowhere_ends_in_error(conn, eventually):
    flavor = max(conn.compute.flavors(), key=lambda f: f.vcpus)
    for host in conn.compute.services(binary="nova-compute"):
        conn.compute.disable_service(host)
    server = conn.compute.create_server(
        name="tt-new", image_id=image_of(conn), flavor_id=flavor.id, networks="none"
    )
    eventually(lambda: conn.compute.get_server(server.id).status == "ERROR")
    fault = conn.compute.get_server(server.id).fault
    conn.compute.delete_server(server.id)
    assert "No valid host" in fault["message"]


def test_changes_since_tells_of_deleted_servers_and_the_plain_list_does_not(
    conn, active, eventually
):
    since = "2001-01-01T00:00:00Z"
    conn.compute.delete_server(active.id)
    eventually(lambda: conn.compute.get(f"/servers/{active.id}").status_code == 404)
    changed = {r["id"]: r for r in rows(conn, f"all_tenants=1&changes-since={since}")}
    assert changed[active.id]["status"] == "DELETED"
    assert active.id not in {r["id"] for r in rows(conn, "all_tenants=1")}


def test_changes_since_gives_only_what_changed(conn, active, eventually):
    row = next(r for r in rows(conn, "all_tenants=1") if r["id"] == active.id)
    shades = itertools.count()

    def later():  # Nova tells whole seconds, so the first change may fall into the same one
        conn.compute.set_server_metadata(active.id, colour=f"red-{next(shades)}")
        updated = conn.compute.get(f"/servers/{active.id}").json()["server"]["updated"]
        return updated if updated > row["updated"] else None

    after = eventually(later)
    changed = rows(conn, f"all_tenants=1&changes-since={after}")
    assert [r["id"] for r in changed] == [active.id]


def test_metadata_is_added_and_taken_away(conn, active):
    conn.compute.set_server_metadata(active.id, colour="red", size="big")
    conn.compute.delete_server_metadata(active.id, ["colour"])
    metadata = conn.compute.get_server(active.id).metadata
    assert metadata["size"] == "big"
    assert "colour" not in metadata


def test_only_admins_list_all_projects(login):
    with pytest.raises(sdk.ForbiddenException):
        list(login("reader").compute.servers(all_projects=True))


def test_a_member_sees_its_own_project_without_hosts(conn, login, members_server):
    servers = list(login("member").compute.servers())
    own = conn.compute.get_server(members_server.id).project_id
    every = [s for s in conn.compute.servers(all_projects=True) if s.project_id == own]
    assert {s.id for s in servers} == {s.id for s in every}
    assert {s.compute_host for s in servers} == {None}
    assert None not in {s.compute_host for s in every}


def test_power_states_follow_the_actions(conn, active, eventually):
    compute = conn.compute
    for act, status in (
        (compute.stop_server, "SHUTOFF"),
        (compute.start_server, "ACTIVE"),
        (compute.pause_server, "PAUSED"),
        (compute.unpause_server, "ACTIVE"),
    ):
        act(active.id)
        eventually(lambda status=status: compute.get_server(active.id).status == status)


def test_starting_a_running_server_is_a_conflict_in_nova_s_words(conn, active):
    answer = conn.compute.post(f"/servers/{active.id}/action", json={"os-start": None})
    assert answer.status_code == 409
    assert answer.json()["conflictingRequest"] == {
        "code": 409,
        "message": f"Cannot 'start' instance {active.id} while it is in vm_state active",
    }


def test_a_lock_stops_members_but_not_admins(conn, login, members_server):
    active = members_server
    conn.compute.lock_server(active.id, locked_reason="mine")
    shown = conn.compute.get_server(active.id)
    assert (shown.is_locked, shown.locked_reason) == (True, "mine")
    body = {"os-stop": None}
    member = login("member").compute
    assert member.post(f"/servers/{active.id}/action", json=body).status_code == 409
    assert conn.compute.post(f"/servers/{active.id}/action", json=body).status_code == 202


def test_an_unknown_action_is_a_bad_request(conn, active):
    answer = conn.compute.post(f"/servers/{active.id}/action", json={"fly": {}})
    assert answer.json()["badRequest"]["message"] == "There is no such action: fly"
