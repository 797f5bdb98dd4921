"""JSON patch, by hundreds of random documents and operations: what holds for all of them (A-044)."""

from __future__ import annotations

import contextlib
import copy

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab_api.rest import patches
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.resources import (
    ACTION_PLANS,
    ACTIONS,
    AUDIT_TEMPLATES,
    AUDITS,
    MAX_MINOR,
)

RESOURCES = st.sampled_from([AUDITS, AUDIT_TEMPLATES, ACTION_PLANS, ACTIONS])
KEYS = st.text("abc01-_", min_size=1, max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab1", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
DOCUMENT = {
    "name": "n",
    "interval": "60",
    "parameters": {"a": {"b": [1, 2, {"c": 3}]}},
    "scope": [{"compute": []}],
    "auto_trigger": False,
    "state": "PENDING",
    "goal": "g",
    "strategy": "s",
    "description": None,
    "default_parameters": {"a": 1},
    "status_message": None,
    "force": False,
    "start_time": None,
    "end_time": None,
}


@st.composite
def operations(draw, resource):
    names = [*sorted({f.name for f in resource.fields}), "colour", "links"]
    root = draw(st.sampled_from(names))
    keys = draw(st.lists(KEYS | st.sampled_from(["a", "b", "0", "1", "-"]), max_size=3))
    op = draw(st.sampled_from(["add", "replace", "remove"]))
    item = {"op": op, "path": "/" + "/".join([root, *keys])}
    return item if op == "remove" else {**item, "value": draw(JSON)}


@st.composite
def patches_of(draw):
    resource = draw(RESOURCES)
    return resource, draw(st.lists(operations(resource), min_size=1, max_size=4))


def document_of(resource):
    return {name: DOCUMENT[name] for name in resource.patchable}


@pytest.mark.req("A-044")
@settings(max_examples=200, deadline=None)
@given(patches_of())
def test_a_patch_changes_only_what_may_be_changed_or_is_refused(case):
    resource, given_operations = case
    document = document_of(resource)
    before = copy.deepcopy(document)
    parsed = patches.parse(orjson.dumps(given_operations))
    try:
        changes = patches.changes(resource, document, parsed, minor=MAX_MINOR)
    except TrimtabError:
        changes = None
    assert document == before, "the document itself is never touched"
    touched = {operation["path"].split("/")[1] for operation in given_operations}
    if changes is None:
        return
    assert set(changes) == touched <= resource.patchable
    for operation in given_operations:
        parts = operation["path"].split("/")[1:]
        if operation["op"] == "remove" and len(parts) == 1:
            assert parts[0] in resource.removable


@pytest.mark.req("A-044")
@settings(max_examples=100, deadline=None)
@given(JSON, st.lists(KEYS, min_size=1, max_size=3))
def test_what_was_added_can_be_replaced_and_removed_again(value, keys):
    document = {"parameters": {}}
    nested = {}
    for key in reversed(keys[:-1]):
        nested = {key: nested}
    path = "/" + "/".join(["parameters", *keys])
    added = [{"op": "replace", "path": "/parameters", "value": nested}]
    added.append({"op": "add", "path": path, "value": value})
    minor = MAX_MINOR
    once = patches.changes(AUDITS, document, patches.parse(orjson.dumps(added)), minor=minor)
    found = once["parameters"]
    for key in keys:
        found = found[key]
    assert found == value
    removed = [*added, {"op": "replace", "path": path, "value": 1}, {"op": "remove", "path": path}]
    gone = patches.changes(AUDITS, document, patches.parse(orjson.dumps(removed)), minor=minor)
    assert gone["parameters"] == nested


@pytest.mark.req("A-044")
@settings(max_examples=200, deadline=None)
@given(ANY_JSON)
def test_any_json_is_parsed_or_refused_with_words(value):
    with contextlib.suppress(TrimtabError):
        parsed = patches.parse(orjson.dumps(value))
        assert isinstance(value, list)
        assert len(parsed) == len(value)


@pytest.mark.req("A-044")
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(body):
    with contextlib.suppress(TrimtabError):
        assert isinstance(patches.parse(body), tuple)
