"""Parameters, intervals, times, negotiation and preferences: the pure checks of the API."""

import copy
import os
import time
from datetime import UTC, datetime

import pytest

from trimtab_api import idents, parameters, schedule
from trimtab_api.rest import bodies, faults, versions
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import ACTION_PLANS, AUDITS, SERVICES

NESTED = {
    "properties": {
        "weights": {
            "type": "object",
            "default": {},
            "properties": {"cpu": {"type": "number", "default": 1.0}},
        },
        "hosts": {
            "type": "array",
            "items": {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}},
        },
    }
}


@pytest.mark.req("A-054")
def test_defaults_are_filled_in_at_every_depth_without_touching_what_was_given():
    given = {"hosts": [{"name": "a"}, {"name": "b", "port": 1}]}
    before = copy.deepcopy((given, NESTED))
    assert parameters.checked(given, NESTED) == {
        "weights": {"cpu": 1.0},
        "hosts": [{"name": "a", "port": 80}, {"name": "b", "port": 1}],
    }
    assert (given, NESTED) == before


@pytest.mark.req("A-054")
@pytest.mark.parametrize(
    ("given", "schema", "text"),
    [
        ({"a": 1}, None, "no predefined strategy"),
        ({"a": 1}, {}, "no predefined strategy"),
        ({"a": 1, "b": 2}, NESTED, "Audit parameter a, b are not allowed"),
        ({"weights": {"cpu": "much"}}, NESTED, "at /weights/cpu"),
    ],
)
def test_parameters_that_the_schema_does_not_allow_are_refused(given, schema, text):
    with pytest.raises(InvalidArgument, match=text):
        parameters.checked(given, schema)


@pytest.mark.req("A-052", "A-018")
@pytest.mark.parametrize("good", ["1", 3600, "*/5 * * * *", "0 0 * * mon", "@hourly"])
def test_intervals_are_seconds_or_cron_text(good):
    assert schedule.checked_interval(good) == str(good)


@pytest.mark.req("A-052", "A-018")
@pytest.mark.parametrize(
    "bad",
    [
        *("", "0", "-1", "1.5", "soon", "61 * * * *", "* * *", "9" * 30),
        "*/5 * * * *" + " " * 40 + "x",
        *("0 0 30 2 *", "0 0 31 4,6 *", "* * * * * * 1999"),
    ],
)
def test_other_intervals_are_refused(bad):
    with pytest.raises(InvalidArgument, match="Invalid interval"):
        schedule.checked_interval(bad)


@pytest.mark.req("A-062")
@pytest.mark.parametrize(
    ("interval", "due"),
    [
        ("90", datetime(2026, 3, 1, 8, 1, 30, tzinfo=UTC)),
        ("0 9 * * *", datetime(2026, 3, 1, 9, tzinfo=UTC)),
    ],
)
def test_the_next_run_follows_from_the_interval(interval, due):
    assert schedule.next_run(interval, datetime(2026, 3, 1, 8, tzinfo=UTC)) == due


@pytest.fixture
def in_tokyo():
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.req("A-053")
@pytest.mark.usefixtures("in_tokyo")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01T09:30:00", "2026-03-01T00:30:00+00:00"),
        ("2026-03-01 09:30", "2026-03-01T00:30:00+00:00"),
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00+00:00"),
        ("2026-03-01T09:30:00-03:00", "2026-03-01T12:30:00+00:00"),
    ],
)
def test_times_without_an_offset_are_the_servers_own(text, utc):
    assert schedule.parse_time(text).isoformat() == utc


@pytest.mark.req("A-019", "A-021")
@pytest.mark.parametrize(
    ("header", "minor"),
    [
        (None, 0),
        ("", 0),
        ("infra-optim", 0),
        ("1.5", 0),
        ("infra-optim 1", 0),
        ("infra-optim 1.5", 5),
        ("INFRA-OPTIM LATEST", versions.MAX_MINOR),
        ("infra-optim abc", 0),
        ("infra-optim 1.x", 0),
        ("compute 2.1,infra-optim 1.3", 3),
    ],
)
def test_versions_are_negotiated(header, minor):
    assert versions.negotiate(header) == minor


@pytest.mark.req("A-021")
@pytest.mark.parametrize("asked", ["0.9", "2.0", "10", "1.8", "1.99", "1.2.3", "2"])
def test_versions_out_of_range_are_not_acceptable(asked):
    with pytest.raises(versions.NotAcceptable, match=r"from 1\.0 to 1\.7"):
        versions.negotiate(f"infra-optim {asked}")


@pytest.mark.req("A-014")
@pytest.mark.parametrize(
    ("accept", "xml"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/xml", True),
        ("application/json, application/xml", False),
        ("application/xml;q=0.9, application/json;q=0.1", True),
        ("application/*;q=0.2, application/json", False),
        ("application/xml;q=bad", False),
    ],
)
def test_xml_is_for_those_who_prefer_it(accept, xml):
    assert faults.prefers_xml(accept) is xml


@pytest.mark.req("A-015")
def test_stack_traces_are_cut_unless_debugging():
    text = "Oops\nTraceback (most recent call last):\n  File x"
    assert b"Traceback" not in faults.body_of(500, text)[1]
    assert b"Traceback" in faults.body_of(500, text, debug=True)[1]
    assert rb"\"faultcode\":\"Server\"" in faults.body_of(500, text)[1]


@pytest.mark.req("A-032")
def test_identifiers_are_ids_uuids_or_names():
    text = "1B4E28BA2FA111D2883F0016D3CCA427"
    canonical = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    assert idents.parse(AUDITS, "7") == 7
    assert idents.parse(AUDITS, text) == canonical
    assert idents.parse(AUDITS, "7x") == "7x"
    assert idents.parse(SERVICES, "watcher-applier") == "watcher-applier"
    assert idents.parse(ACTION_PLANS, text) == canonical
    with pytest.raises(InvalidArgument):
        idents.parse(ACTION_PLANS, "7")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nan",
        b'{"a": NaN}',
        b"\xff",
        b'["\\u0000"]',
        b'{"\\u0000": 1}',
        b"[" * 70 + b"]" * 70,
    ],
)
def test_bodies_that_no_store_keeps_are_refused(body):
    with pytest.raises(InvalidArgument):
        bodies.load(body)


def test_a_name_never_holds_what_postgresql_refuses():
    assert idents.parse(AUDITS, "a\x00b") == "a\ufffdb"
