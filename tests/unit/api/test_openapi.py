"""The OpenAPI document against what it is made from, and against the standard's own rules."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from click.testing import CliRunner

from trimtab_api import openapi
from trimtab_api.rest import versions
from trimtab_api.rest.paging import LISTING
from trimtab_api.rest.routes import IDENT, ROUTES
from trimtab_cli.documents import openapi as command
from trimtab_common.domain.resources import (
    BAREMETAL_MODEL,
    DATA_MODEL,
    STORAGE_MODEL,
    STORED,
    Shown,
)

DOCUMENT = json.loads(openapi.body())
SCHEMAS = DOCUMENT["components"]["schemas"]


def operation(route):
    path = "/".join(("", "v1", *route.path)).replace(IDENT, "{ident}")
    return DOCUMENT["paths"][path][route.method.lower()]


@pytest.mark.req("A-150")
@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {'/'.join(r.path)}")
def test_every_route_is_described_with_its_refusals(route):
    described = operation(route)
    statuses = set(described["responses"])
    assert {"400", "401", "406", "503"} < statuses
    assert ("403" in statuses) == bool(route.rule)
    assert ("requestBody" in described) == (route.method in ("POST", "PATCH"))
    names = {one["name"] for one in described["parameters"]}
    assert ("ident" in names) == (IDENT in route.path)
    if route.method == "GET" and route.path and route.path[-1] in {r.plural for r in STORED}:
        assert names >= LISTING


def test_nothing_is_described_that_is_not_there():
    described = {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item
    }
    routes = {(r.method, "/".join(("", "v1", *r.path)).replace(IDENT, "{ident}")) for r in ROUTES}
    assert described == routes | {("GET", "/")}
    ids = [one["operationId"] for item in DOCUMENT["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.req("A-006")
@pytest.mark.parametrize("resource", STORED, ids=lambda r: r.name)
def test_every_field_filter_and_sort_key_is_described(resource):
    name = "".join(part.capitalize() for part in resource.name.split("_"))
    shown = {f.name for f in resource.fields if f.shown is not Shown.NEVER}
    assert set(SCHEMAS[name]["properties"]) == shown | {"links"}
    old = {f.name for f in resource.fields if f.shown is not Shown.NEVER and not f.since}
    assert set(SCHEMAS[name]["required"]) == old | {"links"}
    short = {f.name for f in resource.fields if f.shown is Shown.SHORT}
    assert set(SCHEMAS[f"{name}Short"]["properties"]) == short | {"links"}
    if resource.on_create:
        assert set(SCHEMAS[f"New{name}"]["properties"]) == resource.on_create
    listing = DOCUMENT["paths"][f"/v1/{resource.plural}"]["get"]["parameters"]
    by_name = {one["name"]: one["schema"] for one in listing}
    assert set(resource.filters) <= by_name.keys()
    assert set(by_name["sort_key"]["enum"]) == resource.sort_keys | set(resource.page_sort_keys)


def test_the_data_model_is_described():
    rows = SCHEMAS["DataModel"]["properties"]["context"]["items"]["anyOf"]
    for row, model in zip(rows, (DATA_MODEL, STORAGE_MODEL, BAREMETAL_MODEL), strict=True):
        assert set(row["properties"]) == {f.name for f in model.fields}


def test_every_schema_is_one_and_every_reference_leads_somewhere():
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', openapi.body().decode())):
        found = DOCUMENT
        for part in reference.split("/"):
            found = found[part]
    assert DOCUMENT["info"]["version"] == versions.MAXIMUM


def test_the_command_writes_what_is_served(tmp_path):
    path = tmp_path / "openapi.json"
    result = CliRunner().invoke(command, ["--output-file", str(path)])
    assert result.exit_code == 0, result.output
    assert json.loads(path.read_text()) == DOCUMENT
    assert json.loads(CliRunner().invoke(command, []).output) == DOCUMENT
