"""Negotiation, bodies and preferences: the pure checks of the API."""

import pytest

from trimtab_api import idents
from trimtab_api.rest import bodies, faults, versions
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import ACTION_PLANS, AUDITS, SERVICES


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
@pytest.mark.parametrize("asked", ["0.9", "2.0", "10", "1.9", "1.99", "1.2.3", "2"])
def test_versions_out_of_range_are_not_acceptable(asked):
    with pytest.raises(versions.NotAcceptable, match=r"from 1\.0 to 1\.8"):
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
