import dataclasses

import pytest
from cloud_places import FAKE, REAL, image_of
from real_cloud import OURS, RealCloud


def migrate(conn, server, host=None, version="2.96", **fields):
    body = {"os-migrateLive": {"host": host, "block_migration": "auto", **fields}}
    return conn.compute.post(f"/servers/{server.id}/action", json=body, microversion=version)


@pytest.fixture
def settled(conn, eventually):
    """The server when nothing is done to it any more."""

    def settle(server):
        eventually(lambda: conn.compute.get_server(server.id).task_state is None)
        return conn.compute.get_server(server.id)

    return settle


@pytest.fixture
def slow(conn, place):
    """A live migration of this server lasts: in the fake cloud until something ends it."""

    def make(server):
        seconds = {FAKE: 30, REAL: 8}[place]
        conn.compute.set_server_metadata(server.id, devcloud_live_migration_seconds=str(seconds))

    return make


@pytest.fixture
def coming_to(conn, eventually):
    """The live migration of a server once it is in a state; Nova lists it a moment after the request."""

    def find(server, status):
        def ask():
            found = list(conn.compute.server_migrations(server.id))
            return found[0] if found and found[0].status == status else None

        return eventually(ask)

    return find


@pytest.fixture
def running(coming_to):
    """The live migration of a server once it runs."""
    return lambda server: coming_to(server, "running")


def test_a_server_moves_to_the_host_that_was_named(
    conn, active, other_host, settled, latest_migration, held, eventually
):
    target = other_host(active)
    assert migrate(conn, active, target).status_code == 202
    server = settled(active)
    assert (server.compute_host, server.status) == (target, "ACTIVE")
    eventually(lambda: latest_migration(active).status == "completed")  # after the task is over
    migration = latest_migration(active)
    assert migration.migration_type == "live-migration"
    assert (migration.source_compute, migration.dest_compute) == (active.compute_host, target)
    assert list(held(active.id)) == [target]
    eventually(lambda: held(migration.uuid) == {})


def test_the_scheduler_chooses_a_host_when_none_is_named(conn, active, settled):
    assert migrate(conn, active).status_code == 202
    assert settled(active).compute_host != active.compute_host


def test_both_hosts_hold_resources_while_it_runs(conn, active, other_host, slow, running, held):
    target = other_host(active)
    slow(active)
    migrate(conn, active, target)
    migration = running(active)
    assert list(held(active.id)) == [target]
    assert list(held(migration.uuid)) == [active.compute_host]
    shown = conn.compute.get_server(active.id)
    assert (shown.status, shown.task_state) == ("MIGRATING", "migrating")
    assert shown.compute_host == active.compute_host


def test_an_abort_leaves_the_server_where_it_was(
    conn, active, other_host, slow, running, settled, latest_migration, held
):
    slow(active)
    migrate(conn, active, other_host(active))
    conn.compute.abort_server_migration(running(active), active.id)
    server = settled(active)
    assert (server.compute_host, server.status) == (active.compute_host, "ACTIVE")
    assert latest_migration(active).status == "cancelled"
    assert list(held(active.id)) == [active.compute_host]


def test_a_forced_completion_ends_it_at_once(conn, active, other_host, slow, running, settled):
    target = other_host(active)
    slow(active)
    migrate(conn, active, target)
    conn.compute.force_complete_server_migration(running(active), active.id)
    assert settled(active).compute_host == target


def test_an_ended_migration_can_neither_be_aborted_nor_found_running(
    conn, active, settled, latest_migration
):
    migrate(conn, active)
    settled(active)
    number = latest_migration(active).id
    path = f"/servers/{active.id}/migrations/{number}"
    assert conn.compute.delete(path).status_code == 409
    assert conn.compute.get(path).status_code == 404


def test_of_a_server_that_moves_only_its_own_migration_can_be_aborted(conn, active, slow, running):
    slow(active)
    migrate(conn, active)
    running(active)
    assert conn.compute.delete(f"/servers/{active.id}/migrations/999999").status_code == 404


def test_a_failing_hypervisor_leaves_the_server_where_it_was(
    conn, active, settled, latest_migration, held
):
    conn.compute.set_server_metadata(active.id, devcloud_fail="live-migration")
    migrate(conn, active)
    assert settled(active).compute_host == active.compute_host
    assert latest_migration(active).status == "failed"
    assert list(held(active.id)) == [active.compute_host]


def test_a_second_migration_of_the_same_server_is_a_conflict(conn, active, slow):
    slow(active)
    migrate(conn, active)
    answer = migrate(conn, active)
    assert answer.status_code == 409
    message = answer.json()["conflictingRequest"]["message"]
    assert message.endswith("while it is in task_state migrating")


def test_a_stopped_server_cannot_be_migrated_live(conn, active, eventually):
    conn.compute.stop_server(active.id)
    eventually(lambda: conn.compute.get_server(active.id).status == "SHUTOFF")
    answer = migrate(conn, active)
    assert answer.status_code == 409
    assert "vm_state stopped" in answer.json()["conflictingRequest"]["message"]


def test_a_paused_server_can_be_and_stays_paused(conn, active, eventually, settled):
    conn.compute.pause_server(active.id)
    eventually(lambda: conn.compute.get_server(active.id).status == "PAUSED")
    assert migrate(conn, active).status_code == 202
    server = settled(active)
    assert server.status == "PAUSED"
    assert server.compute_host != active.compute_host


def test_a_host_that_does_not_exist_is_a_bad_request(conn, active):
    answer = migrate(conn, active, "nowhere")
    assert answer.status_code == 400
    message = answer.json()["badRequest"]["message"]
    assert message == "Compute host nowhere could not be found."
    assert conn.compute.get_server(active.id).task_state is None


@pytest.mark.parametrize("change", [{"status": "disabled"}, {"forced_down": True}])
def test_a_disabled_or_down_host_gives_an_error_record_and_no_move(
    conn, active, other_host, settled, latest_migration, held, change
):
    target = other_host(active)
    service = next(conn.compute.services(host=target, binary="nova-compute"))
    conn.compute.put(f"/os-services/{service.id}", json=change)
    assert migrate(conn, active, target).status_code == 202
    server = settled(active)
    assert (server.compute_host, server.status) == (active.compute_host, "ACTIVE")
    assert latest_migration(active).status == "error"
    assert list(held(active.id)) == [active.compute_host]


def test_before_2_34_the_same_is_refused_at_once(conn, active, other_host):
    target = other_host(active)
    service = next(conn.compute.services(host=target, binary="nova-compute"))
    conn.compute.put(f"/os-services/{service.id}", json={"forced_down": True})
    assert migrate(conn, active, target, version="2.33").status_code == 400
    assert conn.compute.get_server(active.id).task_state is None


def test_the_force_flag_ended_with_2_67(conn, active, other_host, settled):
    target = other_host(active)
    assert migrate(conn, active, target, version="2.68", force=True).status_code == 400
    service = next(conn.compute.services(host=target, binary="nova-compute"))
    conn.compute.put(f"/os-services/{service.id}", json={"status": "disabled"})
    assert migrate(conn, active, target, version="2.67", force=True).status_code == 202
    assert settled(active).compute_host == target


@pytest.fixture
def pair(conn, place):
    """Two ACTIVE servers on one host."""
    if place == REAL:
        real = RealCloud(conn)
        host = next(iter(real.services()))
        uuids = [real.create(f"{OURS}pair", host=host, flavor="m1.tiny") for _ in range(2)]
        for uuid in uuids:
            real.active(uuid)
        yield [conn.compute.get_server(uuid) for uuid in uuids]
        real.settle()
        real.delete(*uuids)
        return
    by_host = {}
    for server in conn.compute.servers(all_projects=True, status="ACTIVE"):
        by_host.setdefault(server.compute_host, []).append(server)
    yield next(servers for servers in by_host.values() if len(servers) > 1)[:2]


def test_one_at_a_time_leaves_each_host_and_the_others_wait_in_the_queue(
    conn, pair, slow, eventually, coming_to
):
    for server in pair:
        slow(server)
        assert migrate(conn, server).status_code == 202
    coming_to(pair[0], "running")
    waiting = coming_to(pair[1], "queued")
    conn.compute.abort_server_migration(waiting, pair[1].id)
    eventually(lambda: conn.compute.get_server(pair[1].id).task_state is None)
    assert conn.compute.get_server(pair[1].id).compute_host == pair[1].compute_host


def test_a_queued_migration_cannot_be_aborted_before_2_65(conn, pair, slow, coming_to):
    for server in pair:
        slow(server)
        migrate(conn, server)
    number = coming_to(pair[1], "queued").id
    path = f"/servers/{pair[1].id}/migrations/{number}"
    assert conn.compute.delete(path, microversion="2.64").status_code == 400


class TestAFullCloud:
    @pytest.fixture
    def spec(self, spec):
        return dataclasses.replace(spec, hosts=2, servers=2)

    def test_without_room_the_migration_ends_in_error_and_the_server_stays(
        self, conn, active, other_host, settled, latest_migration
    ):
        target = other_host(active)
        flavor = next(f for f in conn.compute.flavors() if f.name == "m1.large")
        while True:
            filler = conn.compute.create_server(
                name="tt-filler",
                image_id=image_of(conn),
                flavor_id=flavor.id,
                networks="none",
                host=target,
            )
            if conn.compute.get_server(filler.id).status == "ERROR":
                break
        small = next(f for f in conn.compute.flavors() if f.name == "m1.tiny")
        while (
            conn.compute.get_server(
                conn.compute.create_server(
                    name="tt-filler",
                    image_id=image_of(conn),
                    flavor_id=small.id,
                    networks="none",
                    host=target,
                ).id
            ).status
            != "ERROR"
        ):
            pass
        assert migrate(conn, active, target).status_code == 202
        assert settled(active).compute_host == active.compute_host
        assert latest_migration(active).status == "error"


def test_only_admins_may_migrate(login, members_server):
    assert migrate(login("member"), members_server).status_code == 403


def test_migrations_are_filtered_and_newest_first(conn, active, settled):
    def failed():
        return {m.id for m in conn.compute.migrations(instance_uuid=active.id, status="error")}

    before = failed()
    for _ in range(2):
        migrate(conn, active)
        settled(active)
    listed = list(conn.compute.migrations(instance_uuid=active.id))
    assert [m.id for m in listed] == sorted((m.id for m in listed), reverse=True)
    source = listed[-1].source_compute
    assert active.id in {m.server_id for m in conn.compute.migrations(source_compute=source)}
    assert failed() == before
    since = conn.compute.get("/os-migrations?changes-since=2999-01-01T00:00:00Z")
    assert since.json()["migrations"] == []


def test_before_2_23_a_migration_has_no_type_and_before_2_59_no_uuid(conn, active, settled):
    migrate(conn, active)
    settled(active)
    rows = {
        version: conn.compute.get("/os-migrations", microversion=version).json()["migrations"][0]
        for version in ("2.22", "2.23", "2.59", "2.80")
    }
    assert "migration_type" not in rows["2.22"]
    assert "uuid" not in rows["2.23"]
    assert "project_id" not in rows["2.59"]
    assert {"uuid", "project_id", "migration_type"} <= set(rows["2.80"])
