import pytest


def act(conn, server, version="2.96", **action):
    path = f"/servers/{server.id}/action"
    return conn.compute.post(path, json=action, microversion=version)


@pytest.fixture
def becomes(conn, eventually):
    def wait(server, status):
        eventually(lambda: conn.compute.get_server(server.id).status == status)
        return conn.compute.get_server(server.id)

    return wait


def test_a_cold_migration_waits_for_confirmation_holding_both_hosts(
    conn, active, other_host, becomes, latest_migration, held
):
    target = other_host(active)
    assert act(conn, active, migrate={"host": target}).status_code == 202
    server = becomes(active, "VERIFY_RESIZE")
    assert server.compute_host == target
    migration = latest_migration(active)
    assert (migration.status, migration.migration_type) == ("finished", "migration")
    assert list(held(active.id)) == [target]
    assert list(held(migration.uuid)) == [active.compute_host]
    assert act(conn, active, confirmResize=None).status_code == 204
    becomes(active, "ACTIVE")
    assert latest_migration(active).status == "confirmed"
    assert held(migration.uuid) == {}


def test_a_stopped_server_is_stopped_again_after_confirmation(conn, active, becomes):
    conn.compute.stop_server(active.id)
    becomes(active, "SHUTOFF")
    act(conn, active, migrate=None)
    becomes(active, "VERIFY_RESIZE")
    act(conn, active, confirmResize=None)
    assert becomes(active, "SHUTOFF").compute_host != active.compute_host


def test_a_resize_moves_and_changes_the_flavor_and_a_revert_undoes_both(
    conn, active, becomes, held, latest_migration
):
    bigger = next(f for f in conn.compute.flavors() if f.name == "m1.large")
    if active.flavor.name == bigger.name:
        bigger = next(f for f in conn.compute.flavors() if f.name == "m1.tiny")
    assert act(conn, active, resize={"flavorRef": bigger.id}).status_code == 202
    server = becomes(active, "VERIFY_RESIZE")
    assert server.flavor.name == bigger.name
    assert next(iter(held(active.id).values()))["VCPU"] == bigger.vcpus
    assert latest_migration(active).migration_type == "resize"
    assert act(conn, active, revertResize=None).status_code == 202
    server = becomes(active, "ACTIVE")
    assert (server.compute_host, server.flavor.name) == (active.compute_host, active.flavor.name)
    assert list(held(active.id)) == [active.compute_host]
    assert latest_migration(active).status == "reverted"


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ({"migrate": {"host": "nowhere"}}, 400),
        ({"resize": {"flavorRef": "nothing"}}, 400),
        ({"confirmResize": None}, 409),
        ({"revertResize": None}, 409),
    ],
)
def test_what_cannot_be_is_refused(conn, active, action, status):
    assert act(conn, active, **action).status_code == status


def test_a_server_cannot_go_where_it_is(conn, active):
    answer = act(conn, active, migrate={"host": active.compute_host})
    assert answer.status_code == 400
    message = "Cannot migrate to the host where the server exists."
    assert answer.json()["badRequest"]["message"] == message


def test_a_disabled_host_gives_an_error_record_and_no_move(
    conn, active, other_host, becomes, latest_migration
):
    target = other_host(active)
    service = next(conn.compute.services(host=target, binary="nova-compute"))
    conn.compute.disable_service(service)
    assert act(conn, active, migrate={"host": target}).status_code == 202
    assert becomes(active, "ACTIVE").compute_host == active.compute_host
    assert latest_migration(active).status == "error"


def test_a_failing_resize_leaves_the_server_in_error_at_the_source(conn, active, becomes, held):
    conn.compute.set_server_metadata(active.id, devcloud_fail="resize")
    act(conn, active, migrate=None)
    server = becomes(active, "ERROR")
    assert server.compute_host == active.compute_host
    assert list(held(active.id)) == [active.compute_host]
