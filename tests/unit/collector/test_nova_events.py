"""Every event of Nova does to the model what the table says; a captured story ends as it ended."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notification_builders import (
    GROUP,
    SERVER,
    Desk,
    a_host,
    a_server,
    aggregate_event,
    enveloped,
    group_event,
    instance_event,
    service_event,
)
from prometheus_client import REGISTRY

from trimtab_collector.notifications.envelope import Malformed, decode, peek
from trimtab_collector.notifications.nova_events import TABLE
from trimtab_common.domain.changes import ServerRow, SetAggregates, UpsertGroup
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate, ServerState

GOLDEN = Path(__file__).parents[2] / "golden" / "notifications"
STORY = [json.loads(line) for line in (GOLDEN / "story.jsonl").read_text().splitlines()]
PROOF = "a78ef7b9-2cc3-4fe5-aba1-de10a3303d3d"


def count(outcome):
    return REGISTRY.get_sample_value("trimtab_notifications_total", {"outcome": outcome}) or 0.0


def assert_consistent(model):
    rebuilt = ComputeModel.from_rows(model.hosts(), model.servers())
    rebuilt.apply([SetAggregates(model.aggregates), *map(UpsertGroup, model.groups())])
    assert model.digest() == rebuilt.digest()
    for host in model.hosts():
        assert model.used_by_host(host.hostname) == rebuilt.used_by_host(host.hostname)


# -- Nova's published samples -------------------------------------------------------------------


def samples(reference):
    folder = reference / "data" / "nova-notifications"
    for entry in json.loads((folder / "index.json").read_text())["samples"]:
        yield entry, json.loads((folder / entry["file"]).read_text())


def as_published(data):
    """The row that a sample describes, told apart from the code under test."""
    flavor = data["flavor"]["nova_object.data"]
    return ServerRow(
        uuid=data["uuid"],
        name=data["display_name"],
        hostname=data["host"] or "",
        demand=(flavor["vcpus"], flavor["memory_mb"], flavor["root_gb"]),
        state=ServerState[data["state"].upper()],
        locked=data["locked"],
        project_id=data["tenant_id"],
        metadata=data["metadata"],
        created_at_s=1351518131,  # 2012-10-29T13:42:11Z
        in_flux=bool(data["task_state"]),
    )


@pytest.mark.req("C-049", "C-053", "C-054", "C-057")
@pytest.mark.parametrize(
    "wrap", [enveloped, lambda m: json.dumps(m).encode()], ids=["oslo", "bare"]
)
def test_each_published_sample_does_what_the_table_says(reference, wrap):
    handled = 0
    for entry, message in samples(reference):
        locked = message["payload"]["nova_object.data"].get("locked")
        before = a_server(hostname="host2", demand=(7, 7, 7), name="old", locked=not locked)
        desk = Desk(a_host("compute"), a_host("host1", up=False), a_host("host2"), before)
        kinds = count("applied"), count("malformed")
        desk.inbox.receive([wrap(message)])
        applied, malformed = count("applied") - kinds[0], count("malformed") - kinds[1]
        assert not malformed, entry
        assert_consistent(desk.model)
        if entry["tier"] != "must":
            continue
        handled += 1
        assert applied == 1, entry
        kind, data = entry["event_type"], message["payload"]["nova_object.data"]
        if kind in ("instance.delete.end", "instance.soft_delete.end"):
            assert desk.server() is None
        elif kind.startswith("instance."):
            assert desk.server() == as_published(data), entry
        elif kind == "service.delete":
            assert desk.model.find_host("host2") is None
        else:
            row = desk.model.find_host(data["host"])
            assert row.enabled is not data["disabled"]
            assert row.up is (data["host"] == "host2")  # forced_down=false alone revives nobody
    assert handled == 29


@pytest.mark.req("C-054")
def test_extended_samples_that_say_something_are_applied_too(reference):
    by_file = {entry["file"]: message for entry, message in samples(reference)}
    desk = Desk(a_host("compute"), a_server(hostname="compute"))
    desk.inbox.receive([enveloped(by_file["instance-resize_finish-end.json"])])
    assert desk.server().state is ServerState.RESIZED
    desk.inbox.receive([enveloped(by_file["instance-shelve_offload-end.json"])])
    assert (desk.server().hostname, desk.server().state) == ("", ServerState.SHELVED_OFFLOADED)
    assert desk.model.used_by_host("compute") == (0, 0, 0)
    desk.inbox.receive([enveloped(by_file["aggregate-add_host-end.json"])])
    assert desk.model.aggregates[0].hosts == {"compute"}
    assert desk.wanted() == ([], ["compute"])  # its zone
    desk.inbox.receive([enveloped(by_file["instance-resize-error.json"])])
    assert desk.wanted() == ([SERVER], [])


@pytest.mark.req("C-057")
def test_a_word_of_a_server_that_was_deleted_brings_it_not_back():
    """Seen on a real Nova: a nova-compute that was killed in a deletion says "error" minutes later."""
    late = instance_event("instance.update", state="error", timestamp="2026-01-01 00:05:00")
    late["payload"]["nova_object.data"]["terminated_at"] = "2026-01-01T00:01:00Z"
    desk = Desk(a_host("a"))
    desk.receive(late)
    assert desk.server() is None


# -- a captured story ---------------------------------------------------------------------------


@pytest.mark.req("C-057", "C-060", "C-105")
@pytest.mark.parametrize("with_updates", [True, False], ids=["state-changes", "actions-only"])
def test_the_captured_story_is_followed_and_ends_as_it_ended(with_updates):
    """The oracle is the unversioned family of notifications, which Nova composes elsewhere."""
    began = [a_host(f"compute-{number}") for number in range(1, 7)]
    desk = Desk(*began)
    truth, compared, hosts_seen, states_seen = {}, 0, set(), set()
    for line in STORY:
        if "legacy" in line:
            truth = line["legacy"]
            continue
        message = line["message"]
        kind = message["event_type"]
        if kind == "instance.update" and not with_updates:
            continue
        desk.receive(message)
        asks_nova = kind == "instance.resize.end"
        if kind not in TABLE or not kind.startswith("instance.") or asks_nova:
            continue
        row = desk.server(PROOF)
        if truth["state"] == "deleted":
            assert row is None
        elif truth["state"] != "building":
            compared += 1
            hosts_seen.add(row.hostname)
            states_seen.add(row.state.text)
            assert (row.hostname, row.state.text, row.demand, row.project_id) == (
                truth["host"],
                truth["state"],
                (truth["vcpus"], truth["memory_mb"], truth["disk_gb"]),
                truth["tenant_id"],
            ), message["message_id"]
    assert compared >= 20
    assert hosts_seen == {"compute-4", "compute-5"}
    assert states_seen >= {"active", "resized", "stopped", "paused"}
    assert desk.wanted()[1] == ["compute-7"]  # service.create of a host not seen before
    assert list(desk.model.servers()) == []
    assert sorted(desk.model.hosts(), key=lambda row: row.hostname) == began
    assert desk.model.aggregates == ()
    assert_consistent(desk.model)


@pytest.mark.req("C-028", "C-060")
def test_the_captured_service_events_disable_and_force_down_and_undo_both():
    desk, seen = Desk(a_host("compute-5")), []
    for line in STORY:
        if line.get("message", {}).get("event_type") == "service.update":
            desk.receive(line["message"])
            row = desk.model.find_host("compute-5")
            seen.append((row.enabled, row.disabled_reason, row.up))
    assert seen == [
        (False, "watcher_disabled", True),
        (True, None, True),
        (True, None, False),
        (True, None, True),  # last_seen_up was seconds ago
    ]


# -- servers ------------------------------------------------------------------------------------


@pytest.mark.req("C-057", "C-058")
def test_a_server_moves_with_its_demand():
    desk = Desk(a_host("a"), a_host("b"), a_server())
    desk.receive(instance_event("instance.live_migration_post_dest.end", "b"))
    assert desk.model.used_by_host("a") == (0, 0, 0)
    assert desk.model.used_by_host("b") == (1, 64, 5)


@pytest.mark.req("C-058", "C-062")
def test_a_server_on_an_unknown_host_is_kept_unmapped_and_the_host_is_asked_for():
    desk = Desk(a_host("a"))
    desk.receive(instance_event("instance.create.end", "new"))
    assert desk.model.snapshot().server_missing_host == {0: "new"}
    assert desk.wanted() == ([], ["new"])


def test_a_server_that_builds_is_left_alone_until_it_is_built():
    desk = Desk(a_host("a"))
    desk.receive(instance_event("instance.update", None, state="building"))
    assert desk.server() is None
    desk.receive(instance_event("instance.update", "a"))
    assert desk.server().hostname == "a"


def test_a_volume_backed_server_has_no_root_disk_and_swap_rounds_up():
    message = instance_event("instance.create.end")
    data = message["payload"]["nova_object.data"]
    data["image_uuid"] = ""
    data["flavor"]["nova_object.data"] |= {"ephemeral_gb": 3, "swap": 1025}
    desk = Desk(a_host("a"))
    desk.receive(message)
    assert desk.server().demand == (1, 64, 5)  # 0 + 3 + 2


@pytest.mark.req("C-027")
def test_a_state_of_the_future_is_kept_as_text():
    desk = Desk(a_host("a"))
    desk.receive(instance_event("instance.update", state="teleported"))
    assert (desk.server().state, desk.server().state_text) == (ServerState.UNKNOWN, "teleported")


@pytest.mark.req("C-035", "C-036")
def test_extended_attributes_come_from_the_flavor_and_the_pinned_zone_from_nova():
    message = instance_event("instance.unshelve.end")
    flavor = message["payload"]["nova_object.data"]["flavor"]["nova_object.data"]
    flavor["extra_specs"] = {"hw:cpu_policy": "dedicated"}
    before = a_server(pinned_zone="az1")
    plain, extended = Desk(a_host("a"), before), Desk(a_host("a"), before, extended=True)
    plain.receive(message)
    assert (plain.server().extra_specs, plain.server().pinned_zone) == ({}, "")
    extended.receive(message)
    assert extended.server().extra_specs == {"hw:cpu_policy": "dedicated"}
    assert extended.server().pinned_zone == "az1"
    assert extended.wanted() == ([SERVER], [])
    flavor["extra_specs"] = None
    extended.receive(
        instance_event("instance.resize_confirm.end") | {"payload": message["payload"]}
    )
    assert extended.server().extra_specs == {}


# -- hosts and aggregates -----------------------------------------------------------------------


@pytest.mark.req("C-059")
def test_services_other_than_nova_compute_are_ignored():
    desk = Desk(a_host("a"))
    for kind in ("service.create", "service.update", "service.delete"):
        desk.receive(service_event(kind, "a", binary="nova-scheduler", disabled=True))
    assert desk.model.find_host("a") == a_host("a")
    assert desk.wanted() == ([], [])


@pytest.mark.req("C-060")
@pytest.mark.parametrize(
    ("seen", "up"),
    [(None, False), ("2025-12-31T23:59:30Z", True), ("2025-12-31T23:00:00Z", False)],
)
def test_only_a_fresh_heartbeat_says_that_a_dead_host_lives(seen, up):
    desk = Desk(a_host("a", up=False))
    desk.receive(service_event("service.update", "a", last_seen_up=seen))
    assert desk.model.find_host("a").up is up


@pytest.mark.req("C-062", "C-063")
def test_a_new_service_is_asked_for_and_an_unknown_one_that_goes_is_nothing():
    desk = Desk(a_host("a"), a_server())
    desk.receive(service_event("service.create", "b"), service_event("service.delete", "c"))
    assert desk.wanted() == ([], ["b"])
    desk.receive(service_event("service.delete", "a"))
    assert desk.model.n_hosts == 0
    assert desk.model.snapshot().server_missing_host == {0: "a"}


@pytest.mark.req("B-058")
def test_aggregates_follow_and_hosts_whose_zone_changes_are_asked_for():
    desk = Desk(a_host("a"), a_host("b"))
    desk.receive(aggregate_event("aggregate.create.end", 2))
    desk.receive(aggregate_event("aggregate.add_host.end", 2, hosts=["a"]))
    assert desk.wanted() == ([], [])
    desk.receive(
        aggregate_event("aggregate.update_metadata.end", 2, hosts=["a"], availability_zone="az1")
    )
    assert desk.model.aggregates == (
        Aggregate(
            id=2,
            name="racks",
            zone="az1",
            hosts=frozenset({"a"}),
            metadata={"availability_zone": "az1"},
        ),
    )
    assert desk.wanted() == ([], ["a"])
    desk.receive(aggregate_event("aggregate.create.end", 1))
    assert [row.id for row in desk.model.aggregates] == [1, 2]
    desk.receive(aggregate_event("aggregate.delete.end", 2))
    assert [row.id for row in desk.model.aggregates] == [1]
    assert desk.wanted() == ([], ["a"])


# -- what is under way --------------------------------------------------------------------------


@pytest.mark.req("C-054")
@pytest.mark.parametrize(
    "kind",
    [
        "instance.live_migration_pre.end",
        "instance.resize_prep.end",
        "instance.rebuild_scheduled",
        "instance.evacuate",
    ],
)
def test_a_server_with_which_nova_is_busy_is_in_flux_until_it_is_done(kind):
    desk = Desk(a_host("a"), a_host("b"), a_server())
    desk.receive(instance_event(kind, "b", task_state="migrating", state="paused"))
    assert desk.server() == a_server(in_flux=True)  # nothing else of the event is believed
    assert desk.model.snapshot().server_in_flux.tolist() == [True]
    desk.receive(instance_event("instance.live_migration_post_dest.end", "b"))
    assert desk.server() == a_server(hostname="b", project_id="p", created_at_s=1767225600)


def test_the_source_of_a_move_speaks_last_and_is_not_believed():
    desk = Desk(a_host("a"), a_host("b"), a_server(hostname="b"))
    desk.receive(instance_event("instance.live_migration_post.end", "a", task_state="migrating"))
    assert desk.server() == a_server(hostname="b")
    assert desk.wanted() == ([SERVER], [])


# -- server groups ------------------------------------------------------------------------------


@pytest.mark.req("C-037", "B-058")
def test_server_groups_follow_their_events():
    desk = Desk(a_host("a"), a_server())
    desk.receive(group_event("server_group.create", rules={"max_server_per_host": "3"}))
    desk.receive(group_event("server_group.add_member", SERVER))
    (group,) = desk.model.snapshot().groups
    assert (group.uuid, group.policy, group.members) == (GROUP, "anti-affinity", {SERVER})
    assert desk.model.groups_of(SERVER) == [group]
    desk.receive(instance_event("instance.delete.end", state="deleted"))
    assert desk.model.find_group(GROUP).members == frozenset()
    desk.receive(group_event("server_group.delete"))
    assert desk.model.snapshot().groups == ()
    desk.receive(group_event("server_group.add_member", SERVER))  # late
    assert desk.model.snapshot().groups == ()


@pytest.mark.req("C-066")
def test_what_is_outside_of_the_loaded_part_does_not_grow_the_model():
    desk = Desk(a_host("a"), a_server(), admits={"a"}.__contains__)
    other = "00000000-0000-0000-0000-000000000001"
    desk.receive(
        instance_event("instance.create.end", "z", server=other),
        service_event("service.create", "z"),
        service_event("service.update", "z"),
    )
    assert (desk.model.n_hosts, desk.model.n_servers) == (1, 1)
    assert desk.wanted() == ([], [])
    desk.receive(instance_event("instance.live_migration_post_dest.end", "z"))
    assert desk.server() is None
    desk.receive(instance_event("instance.live_migration_post_dest.end", "a"))
    assert desk.server().hostname == "a"  # it left, and is no dead that must not come back


# -- what is not understood ---------------------------------------------------------------------


def broken(**changes):
    message = instance_event("instance.pause.end")
    data = message["payload"]["nova_object.data"]
    for name, value in changes.items():
        if value is None:
            del data[name]
        else:
            data[name] = value
    return message


def of_version(version, namespace="nova"):
    message = instance_event("instance.pause.end")
    message["payload"] |= {"nova_object.version": version, "nova_object.namespace": namespace}
    return message


@pytest.mark.req("C-053", "C-065")
@pytest.mark.parametrize(
    "message",
    [
        broken(uuid=None),
        broken(uuid="not-a-uuid"),
        broken(flavor=None),
        broken(flavor={"nova_object.data": {"vcpus": "many"}}),
        broken(state=None),
        broken(created_at="yesterday"),
        broken(metadata=["x"]),
        of_version("2.0"),
        of_version("1.9", "cyborg"),
        {"event_type": "instance.pause.end"},
    ],
)
def test_what_is_malformed_is_counted_and_stops_nothing(message):
    desk, before = Desk(a_host("a")), count("malformed")
    desk.receive(message, instance_event("instance.create.end"))
    assert count("malformed") == before + 1
    assert desk.server().hostname == "a"


def test_bodies_that_are_no_messages_stop_nothing():
    desk, before = Desk(a_host("a")), count("malformed")
    desk.inbox.receive([b"", b"\xff", b"[]", b"null", b'{"oslo.message": 5}', b'"x"'])
    assert count("malformed") == before + 6


@pytest.mark.req("C-013", "C-055", "C-056")
def test_what_nobody_wants_is_not_even_parsed():
    start = b'{"oslo.message": "{\\"event_type\\": \\"compute.instance.exists\\", this is no JSON'
    assert peek(start) == "compute.instance.exists"
    desk, before = Desk(a_host("a")), count("ignored")
    desk.inbox.receive([start])
    assert count("ignored") == before + 1


@pytest.mark.parametrize(
    "wrap", [enveloped, lambda m: json.dumps(m).encode()], ids=["oslo", "bare"]
)
@pytest.mark.parametrize(
    "name", ['{"event_type": "x"}', '"oslo.message" {\\"event_type\\": \\"x\\"}']
)
def test_nobody_hides_a_server_by_its_name(wrap, name):
    message = instance_event("instance.create.end")
    message["payload"]["nova_object.data"]["display_name"] = name
    backwards = dict(reversed(message.items()))  # the payload first
    desk = Desk(a_host("a"))
    desk.inbox.receive([wrap(backwards)])
    assert desk.server().name == name


@pytest.mark.req("C-049")
def test_errors_and_other_publishers_change_nothing():
    desk = Desk(a_host("a"))
    desk.receive(
        instance_event("instance.create.end", priority="ERROR"),
        instance_event("instance.create.end", publisher_id="somebody"),
    )
    assert desk.server() is None


values = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just({}) | st.just([])
fields = st.sampled_from(
    sorted(instance_event("x")["payload"]["nova_object.data"])
    + sorted(service_event("x")["payload"]["nova_object.data"])
    + sorted(group_event("x")["payload"]["nova_object.data"])
    + ["id", "hosts", "name"]
)


@pytest.mark.req("C-065")
@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(sorted(TABLE)), changed=st.dictionaries(fields, values, max_size=3))
def test_no_payload_whatever_breaks_the_inbox_or_the_model(kind, changed):
    message = {
        "instance": instance_event(kind),
        "compute_task": instance_event(kind),
        "service": service_event(kind),
        "aggregate": aggregate_event(kind, 1, hosts=["a"]),
        "server_group": group_event(kind, SERVER),
    }[kind.partition(".")[0]]
    message["priority"] = TABLE[kind].priority
    message["payload"]["nova_object.data"] |= changed
    desk = Desk(a_host("a"), a_server())
    desk.receive(message)
    assert_consistent(desk.model)
    desk.model.snapshot()


def test_the_peek_agrees_with_the_whole_message():
    for line in STORY:
        if "message" in line:
            body = enveloped(line["message"])
            event = decode(body)
            assert peek(body) == event.event_type
            assert dataclasses.asdict(event)["message_id"] == line["message"]["message_id"]
    with pytest.raises(Malformed):
        decode(b"{}")
