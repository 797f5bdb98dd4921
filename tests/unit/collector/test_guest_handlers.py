"""Handlers that third parties plug into a model, by entry point (C-014)."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import structlog
from notification_builders import SERVER, Desk, a_host, a_server, enveloped, instance_event
from prometheus_client import REGISTRY

from trimtab_collector.notifications import guests
from trimtab_collector.notifications.envelope import Malformed
from trimtab_collector.notifications.guests import GuestHandler, GuestRule
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.mailroom import Mailroom
from trimtab_collector.notifications.nova_events import NOVA
from trimtab_collector.notifications.outcome import Outcome
from trimtab_common.domain.changes import UpsertHost


def host_of(event):
    if "host" not in event.data:
        raise Malformed("it names no host")
    return f"host {event.data['host']}"


def closes(event, known):
    """A host that its rack calls hot is closed."""
    host = known.find_host(event.data["host"])
    if host is None:
        return Outcome(hosts=(event.data["host"],))
    closed = replace(host, enabled=False, disabled_reason=event.data["why"])
    return Outcome(changes=(UpsertHost(closed),))


RACK = GuestHandler(
    model="compute",
    publishers=r"rack-\d+",
    events={"rack.hot": GuestRule(handler=closes, element=host_of)},
)
BROKEN = "no handler at all"


def clash():
    return GuestHandler(
        model="compute", publishers=".*", events={"service.update": RACK.events["rack.hot"]}
    )


def point(name):
    return EntryPoint(name.lower(), f"{__name__}:{name}", guests.ENTRY_POINT)


@pytest.fixture
def desk():
    made = Desk(a_host("a"), a_host("b"), a_server(hostname="a"))
    dialect = guests.joined(NOVA, "compute", [point("RACK")])
    made.inbox = Inbox(made.live, made.clock, dialect=dialect)
    return made


def rack_event(host="a", publisher="rack-7", **fields):
    message = {
        "message_id": fields.pop("message_id", "1"),
        "publisher_id": publisher,
        "event_type": "rack.hot",
        "priority": "INFO",
        "timestamp": fields.pop("at", "2026-01-01 00:00:00.000001"),
        "payload": {"host": host, "why": "hot"} | fields,
    }
    return enveloped(message)


@pytest.mark.req("C-014")
def test_an_event_of_a_third_party_changes_the_model_as_its_handler_says(desk):
    before = desk.model.revision
    desk.inbox.receive([rack_event("a"), rack_event("stranger", message_id="2")])
    assert desk.model.find_host("a").disabled_reason == "hot"
    assert desk.model.find_host("b").enabled
    assert desk.model.revision == before + 1
    assert desk.inbox.wanted.take() == (set(), {"stranger"})


@pytest.mark.req("C-014")
@pytest.mark.parametrize("publisher", ["rack-x", "my-rack-7", "nova-compute:a"])
def test_its_own_filter_of_publishers_counts_and_novas_does_not(desk, publisher):
    desk.inbox.receive([rack_event("a", publisher)])
    assert desk.model.find_host("a").enabled


@pytest.mark.req("C-014")
def test_our_own_events_go_on_as_before(desk):
    desk.inbox.receive([enveloped(instance_event("instance.power_off.end", "b", state="stopped"))])
    assert desk.model.find_server(SERVER).hostname == "b"


@pytest.mark.req("C-014", "C-064")
def test_its_events_are_ordered_and_a_late_one_is_dropped(desk):
    desk.inbox.receive([rack_event(why="second", at="2026-01-01 00:00:02.000000")])
    desk.inbox.receive([rack_event(why="first", at="2026-01-01 00:00:01.000000", message_id="0")])
    assert desk.model.find_host("a").disabled_reason == "second"


def malformed():
    return REGISTRY.get_sample_value("trimtab_notifications_total", {"outcome": "malformed"})


@pytest.mark.req("C-014", "C-065")
def test_a_handler_that_breaks_is_counted_logged_with_its_trace_and_stops_nothing(desk):
    before = malformed() or 0
    bad = rack_event("a").replace(b"why", b"wye")  # the handler's KeyError
    with structlog.testing.capture_logs() as logs:
        desk.inbox.receive([bad, rack_event("b", message_id="2")])
    assert malformed() == before + 1
    (line,) = [line for line in logs if line["event"] == "a notification broke its handler"]
    assert line["log_level"] == "error"
    assert line["exc_info"]
    assert line["event_type"] == "rack.hot"
    assert desk.model.find_host("b").disabled_reason == "hot"
    desk.inbox.receive([rack_event().replace(b"host", b"hots")])
    assert malformed() == before + 2


@pytest.mark.req("C-014")
@pytest.mark.parametrize("name", ["BROKEN", "clash", "MISSING"])
def test_a_plug_in_that_cannot_be_used_is_logged_and_left_out(name):
    with structlog.testing.capture_logs() as logs:
        dialect = guests.joined(NOVA, "compute", [point(name), point("RACK")])
    assert logs[0]["log_level"] == "error"
    assert dialect.table.keys() - NOVA.table.keys() == {"rack.hot"}
    assert dialect.table["service.update"] is NOVA.table["service.update"]


@pytest.mark.req("C-014")
def test_a_handler_of_another_model_is_not_this_ones_business():
    assert guests.joined(NOVA, "storage", [point("RACK")]).table.keys() == NOVA.table.keys()


@pytest.mark.req("C-014")
def test_the_mailroom_brings_its_events_to_its_model(desk):
    other = Desk(a_host("a"))
    Mailroom([other.inbox, desk.inbox]).receive([rack_event("a")])
    assert not desk.model.find_host("a").enabled
    assert other.model.find_host("a").enabled


@pytest.mark.req("C-014")
async def test_an_installed_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    info = tmp_path / "racks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: racks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{guests.ENTRY_POINT}]\nracks = {__name__}:RACK\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "rack.hot" in guests.joined(NOVA, "compute").table
