"""Envoy's configuration: valid, and with the refusals that the API itself would give."""

from __future__ import annotations

import json
import subprocess

import pytest

from trimtab_cli import gateway


def test_envoy_accepts_the_rendered_configuration(tmp_path):
    binary = gateway.envoy_binary()
    if binary is None:
        pytest.skip("Envoy is not installed")
    path = tmp_path / "envoy.json"
    path.write_text(gateway.render(gateway.GatewaySettings()))
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


@pytest.mark.req("A-014", "A-015")
def test_a_refusal_is_encoded_twice():
    body = json.loads(gateway.refusal('a "quoted" text', client=True))
    assert json.loads(body["error_message"]) == {
        "faultcode": "Client",
        "faultstring": 'a "quoted" text',
        "debuginfo": None,
    }
