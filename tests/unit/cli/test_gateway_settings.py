"""The public door is where operators' files say, and speaks TLS when they say so (A-033)."""

from __future__ import annotations

import json
import subprocess

import pytest
from click.testing import CliRunner

from trimtab_cli import gateway, gateway_settings
from trimtab_cli.main import main

FILE = """
[DEFAULT]
debug = true
[api]
host = 192.0.2.7
port = 19322
max_limit = 7
[ssl]
cert_file = {cert}
key_file = {key}
"""


@pytest.fixture
def files(tmp_path):
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("-----")
    path = tmp_path / "watcher.conf"
    path.write_text(FILE.format(cert=tmp_path / "cert", key=tmp_path / "key"))
    return path


def printed(*arguments):
    result = CliRunner().invoke(main, ["gateway", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    listener = json.loads(result.output)["static_resources"]["listeners"][0]
    address = listener["address"]["socket_address"]
    return (address["address"], address["port_value"]), listener["filter_chains"][0]


@pytest.mark.req("A-033")
def test_host_and_port_are_those_of_the_file_unless_said_otherwise(files):
    assert printed()[0] == ("127.0.0.1", 9322)
    assert printed("--config-file", files)[0] == ("192.0.2.7", 19322)
    place, chain = printed("--config-file", files, "--bind", "192.0.2.8", "--port", 1)
    assert place == ("192.0.2.8", 1)
    assert "transport_socket" not in chain


@pytest.mark.req("A-033")
def test_enable_ssl_api_makes_the_edge_speak_tls(files, tmp_path):
    files.write_text(files.read_text().replace("port = 19322", "enable_ssl_api = true"))
    tls = printed("--config-file", files)[1]["transport_socket"]["typed_config"]
    certificate = tls["common_tls_context"]["tls_certificates"][0]
    assert certificate["certificate_chain"] == {"filename": str(tmp_path / "cert")}
    assert certificate["private_key"] == {"filename": str(tmp_path / "key")}
    assert tls["require_client_certificate"] is False
    files.write_text(files.read_text() + f"ca_file = {tmp_path / 'ca'}\n")
    tls = printed("--config-file", files)[1]["transport_socket"]["typed_config"]
    assert tls["require_client_certificate"] is True
    assert tls["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": str(tmp_path / "ca")}
    }


@pytest.mark.req("A-033")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[api]\nenable_ssl_api = true\n", "set [ssl] cert_file"),
        ("[api]\nenable_ssl_api = true\n[ssl]\ncert_file = {cert}\n", "set [ssl] key_file"),
        (
            "[api]\nenable_ssl_api = true\n[ssl]\ncert_file = {cert}\nkey_file = /nowhere\n",
            "key_file names /nowhere, which is no file",
        ),
        ("[api]\nport = many\n", "cannot be read"),
        ("[api]\nport = 70000\n", "cannot be read"),
        ("no section", "cannot be read"),
    ],
)
def test_what_cannot_be_is_told(files, tmp_path, text, words):
    files.write_text(text.format(cert=tmp_path / "cert"))
    result = CliRunner().invoke(main, ["gateway", "--config-file", str(files)])
    assert result.exit_code == 1
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.req("A-033")
def test_envoy_accepts_the_configuration_with_tls(tmp_path):
    binary = gateway.envoy_binary()
    assert binary is not None, "Envoy is not installed: make setup"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-keyout", tmp_path / "key", "-out", tmp_path / "cert"),
        ],
        check=True,
        capture_output=True,
    )
    settings = gateway_settings.with_tls(
        gateway.GatewaySettings(),
        cert_file=str(tmp_path / "cert"),
        key_file=str(tmp_path / "key"),
        ca_file=str(tmp_path / "cert"),
    )
    (tmp_path / "envoy.json").write_text(gateway.render(settings))
    result = subprocess.run(
        [binary, "--mode", "validate", "-c", tmp_path / "envoy.json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
