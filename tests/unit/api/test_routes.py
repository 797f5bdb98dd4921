"""The route table and the proto name the same paths."""

import pytest
from google.api import annotations_pb2

from trimtab.rest.v1 import rest_pb2
from trimtab_api.rest import faults
from trimtab_api.rest.request import parse_target
from trimtab_api.rest.routes import IDENT, ROUTES, find

SERVICE = rest_pb2.DESCRIPTOR.services_by_name["WatcherRest"]
WITHOUT_ROUTE = {"GetRoot", "Other"}


def bindings():
    for method in SERVICE.methods:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        for one in (rule, *rule.additional_bindings):
            verb = one.WhichOneof("pattern")
            if verb != "custom":
                yield method.name, verb.upper(), getattr(one, verb)


@pytest.mark.parametrize(("rpc", "method", "path"), sorted(bindings()))
def test_every_path_of_the_proto_leads_to_the_route_of_its_rpc(rpc, method, path):
    if rpc in WITHOUT_ROUTE:
        return
    route, ident = find(method, parse_target(path.replace("*", "x%2Fy")).segments)
    assert route.rpc == rpc
    assert ident == ("x/y" if IDENT in route.path else "")


def test_every_route_has_an_rpc_and_every_rpc_a_route():
    assert {route.rpc for route in ROUTES} | WITHOUT_ROUTE == {m.name for m in SERVICE.methods}


@pytest.mark.req("A-034")
def test_every_route_but_the_root_has_a_rule():
    without = [route.path for route in ROUTES if not route.rule]
    assert without == [()]
    assert {route.rule for route in ROUTES if route.path == ("audits", "detail")} == {
        "audit:detail"
    }


@pytest.mark.req("A-016")
def test_a_known_path_with_another_method_names_those_that_work():
    with pytest.raises(faults.MethodNotAllowed) as caught:
        find("PUT", ("audits", "x"))
    assert caught.value.allowed == ("DELETE", "GET", "PATCH")
    with pytest.raises(faults.RouteNotFound):
        find("GET", ("audits", "x", "detail"))


@pytest.mark.req("A-016")
def test_the_detailed_list_is_no_resource_of_that_name():
    with pytest.raises(faults.MethodNotAllowed) as caught:
        find("PATCH", ("audits", "detail"))
    assert caught.value.allowed == ("GET",)
