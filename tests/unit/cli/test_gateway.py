"""Envoy's configuration: valid, and with the refusals that the API itself would give."""

from __future__ import annotations

import json
import subprocess

import pytest

from trimtab_cli import gateway


@pytest.mark.parametrize("others", [(), ("127.0.0.1:9425",)])
def test_envoy_accepts_the_rendered_configuration(tmp_path, others):
    binary = gateway.envoy_binary()
    assert binary is not None, "Envoy is not installed: make setup"
    path = tmp_path / "envoy.json"
    path.write_text(gateway.render(gateway.GatewaySettings(other_collectors=others)))
    result = subprocess.run(
        [str(binary), "--mode", "validate", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_internal_services_have_no_route_and_no_cluster():
    text = gateway.render(gateway.GatewaySettings())
    assert "trimtab.decision" not in text
    assert "trimtab.applier" not in text


@pytest.mark.req("A-014")
def test_a_refusal_is_encoded_twice():
    body = json.loads(gateway.refusal('a "quoted" text', client=True))
    assert json.loads(body["error_message"]) == {
        "faultcode": "Client",
        "faultstring": 'a "quoted" text',
        "debuginfo": None,
    }


def routes_and_filters():
    document = json.loads(gateway.render(gateway.GatewaySettings()))
    listener = document["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    hosts = manager["route_config"]["virtual_hosts"]
    return [route for host in hosts for route in host["routes"]], manager["http_filters"]


GUARD = "envoy.filters.http.ext_authz"


@pytest.mark.req("A-034")
def test_every_route_that_does_not_lead_to_api_is_guarded():
    routes, filters = routes_and_filters()
    assert GUARD in [each["name"] for each in filters]
    unguarded = {
        route["route"]["cluster"]
        for route in routes
        if route.get("typed_per_filter_config", {}).get(GUARD, {}).get("disabled")
    }
    guarded = {
        route["match"]["prefix"]
        for route in routes
        if GUARD not in route.get("typed_per_filter_config", {})
    }
    assert unguarded == {"api"}
    assert guarded == {"/trimtab.model.v1.", "/trimtab.scoring.v1.", "/inference."}


def test_the_guard_is_closed_when_nobody_answers():
    _, filters = routes_and_filters()
    guard = next(each["typed_config"] for each in filters if each["name"] == GUARD)
    assert guard["failure_mode_allow"] is False
    assert guard["status_on_error"] == {"code": "ServiceUnavailable"}


def test_no_route_leads_to_the_door_that_answers_the_guard():
    routes, _ = routes_and_filters()
    assert {route["route"]["cluster"] for route in routes} == {"api", "collector", "scoring"}


def test_a_guarded_stream_that_its_service_does_not_end_is_cut_off():
    routes, _ = routes_and_filters()
    ages = {
        route["route"]["max_stream_duration"]["max_stream_duration"]
        for route in routes
        if route["route"]["cluster"] != "api"
    }
    assert ages == {"3660s"}


@pytest.mark.req("C-119")
def test_a_second_collector_is_asked_only_while_the_first_is_down():
    settings = gateway.GatewaySettings(
        collector="192.0.2.7:9325", other_collectors=("192.0.2.8:9325", "192.0.2.7:9325")
    )
    clusters = json.loads(gateway.render(settings))["static_resources"]["clusters"]
    (collector,) = (each for each in clusters if each["name"] == "collector")
    found = [
        (each["priority"], one["endpoint"]["address"]["socket_address"]["address"])
        for each in collector["load_assignment"]["endpoints"]
        for one in each["lb_endpoints"]
    ]
    assert found == [(0, "192.0.2.7"), (1, "192.0.2.8")]
    assert collector["health_checks"], "Envoy would not notice that the first is down"
