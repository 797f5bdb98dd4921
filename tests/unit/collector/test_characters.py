"""Workload characters in the model: kept with the metadata, refreshed by notifications, never in the way."""

from __future__ import annotations

import pytest
from notification_builders import SERVER, Desk, a_host, a_server, instance_event
from structlog.testing import capture_logs

from trimtab_common.rules import workload_grammar


def character_of(desk):
    metadata = desk.server().metadata
    return workload_grammar.cached(workload_grammar.text_in(metadata))


@pytest.mark.req("B-324")
def test_a_character_follows_the_notifications_and_a_bad_one_is_logged_once():
    desk = Desk(a_host("a"), a_server())
    with capture_logs() as logs:
        desk.receive(
            instance_event("instance.update", "a", metadata={workload_grammar.KEY: "vcpus = 2"})
        )
        assert character_of(desk).resources == ("vcpus",)
        bad = {workload_grammar.KEY: "vcpus = 2 and"}
        for state in ("active", "stopped"):
            desk.receive(instance_event("instance.update", state=state, metadata=bad))
        assert desk.server().metadata == bad
        desk.receive(
            instance_event(
                "instance.update", "a", metadata={workload_grammar.OLD_KEY: "cpu_util > 9"}
            )
        )
        assert character_of(desk).resources == ("cpu_util",)
    told = [entry for entry in logs if "workload character" in entry["event"]]
    assert [entry["server"] for entry in told] == [SERVER]
    assert "unexpected its end" in told[0]["problem"]
