"""Renders Envoy's configuration from the template in deploy/ and says where Envoy is."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import yaml

from trimtab_common.domain.resources import MAX_MINOR

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_STREAM_AGE_S = 3600
STREAM_GRACE_S = 60
"""Services end their streams themselves, in order; Envoy can only cut off what goes on after that."""
NOT_CHECKED = "Your token cannot be checked at the moment. Try again in a few seconds."
NOT_REACHABLE = "The service is not reachable at the moment. Try again in a few seconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the edge listens and where it sends what. Addresses are host:port.

    other_collectors: asked, in this order, while the ones before do not answer.
    It speaks TLS when there is a `cert_file`; with a `ca_file` clients need certificates too.
    """

    bind: str = "127.0.0.1"
    port: int = 9322
    admin_port: int = 9329
    api: str = "127.0.0.1:9324"
    api_http: str = "127.0.0.1:9323"
    collector: str = "127.0.0.1:9325"
    other_collectors: tuple[str, ...] = ()
    scoring: str = "127.0.0.1:9328"
    max_stream_age_s: int = MAX_STREAM_AGE_S
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""


def refusal(faultstring: str, *, client: bool) -> str:
    """The body of an error in Watcher's form: JSON inside a JSON string."""
    inner = json.dumps(
        {
            "faultcode": "Client" if client else "Server",
            "faultstring": faultstring,
            "debuginfo": None,
        }
    )
    return json.dumps({"error_message": inner})


def render(settings: GatewaySettings) -> str:
    """Envoy's configuration as JSON text, which is YAML too."""
    template = Template(_packaged("envoy.yaml.tmpl").read_text())
    fields: dict[str, str] = {
        "bind": settings.bind,
        "port": str(settings.port),
        "admin_port": str(settings.admin_port),
        "descriptors": str(_packaged("descriptors.binpb")),
        "max_body_bytes": str(MAX_BODY_BYTES),
        "max_stream_age_s": str(settings.max_stream_age_s + STREAM_GRACE_S),
        "error_400": "REPLY400",
        "error_413": "REPLY413",
        "error_431": "REPLY431",
        "min_version": "1.0",
        "max_version": f"1.{MAX_MINOR}",
        "error_503": "REPLY503",
        "text_503": NOT_REACHABLE,
        "text_unchecked": NOT_CHECKED,
        "error_504": "REPLY504",
    }
    collectors = dict.fromkeys((settings.collector, *settings.other_collectors))
    fields["collectors"] = json.dumps([_endpoint(one, n) for n, one in enumerate(collectors)])
    for name in ("api", "api_http", "scoring"):
        host, _, port = str(getattr(settings, name)).rpartition(":")
        fields |= {f"{name}_host": host, f"{name}_port": port}
    bootstrap = yaml.safe_load(template.substitute(fields))
    if settings.cert_file:
        listener = bootstrap["static_resources"]["listeners"][0]
        listener["filter_chains"][0]["transport_socket"] = _tls(settings)
    document = json.dumps(bootstrap, indent=1)
    for mark, text, client in (
        (
            "REPLY400",
            "The request cannot be read. Percent-encode the path, without control characters.",
            True,
        ),
        ("REPLY413", f"The request body is larger than {MAX_BODY_BYTES} bytes.", True),
        ("REPLY431", "The headers are too large; there may be 100 of 60 KiB in all.", True),
        (
            "REPLY503",
            NOT_REACHABLE,
            False,
        ),
        (
            "REPLY504",
            "The service did not answer in time. Look at the state before trying again.",
            False,
        ),
    ):
        document = document.replace(mark, json.dumps(refusal(text, client=client))[1:-1])
    return document


def _endpoint(address: str, priority: int) -> dict[str, object]:
    """One of several, which answers while all of a smaller number are down."""
    host, _, port = address.rpartition(":")
    where = {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
    return {"priority": priority, "lb_endpoints": [{"endpoint": {"address": where}}]}


def _tls(settings: GatewaySettings) -> dict[str, Any]:
    common: dict[str, Any] = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificates": [
            {
                "certificate_chain": {"filename": settings.cert_file},
                "private_key": {"filename": settings.key_file},
            }
        ],
    }
    if settings.ca_file:
        common["validation_context"] = {"trusted_ca": {"filename": settings.ca_file}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/"
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": bool(settings.ca_file),
            "common_tls_context": common,
        },
    }


def envoy_binary() -> Path | None:
    """The Envoy of this environment, or of the PATH; None when there is none."""
    beside = Path(sys.executable).parent / "envoy"
    if beside.exists():
        return beside
    found = shutil.which("envoy")
    return Path(found) if found else None


def _packaged(name: str) -> Path:
    with resources.as_file(resources.files("trimtab") / name) as path:
        return path
