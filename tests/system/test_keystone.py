"""Access at the gateway with auth=keystone: who comes in, who does not, and what each is told.

A second system on its own row of ports, before the fake cloud's Keystone. No audit is run here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab.ops.v1 import ops_pb2, ops_pb2_grpc
from trimtab_cli import ports
from trimtab_cli.system import SystemSpec, running

NO_ENTRY = "The request you have made requires authentication."


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("guarded")),
        ports=ports.free_row(),
        auth="keystone",
        fakecloud_args=("--hosts", "2", "--servers", "4"),
        extra_config="[keystone_authtoken]\ntoken_cache_time = 1\n",
    )
    with running(spec, say=lambda _line: None) as started:
        yield started
    logs = (spec.state_dir / "logs").glob("*.log")
    assert not any("gAAAA" in log.read_text(errors="replace") for log in logs)


@pytest.fixture(scope="module")
def token(guarded):
    """Logs a user in at the cloud's Keystone; gives the token."""

    def login(name: str) -> str:
        user = {"name": name, "password": "secret", "domain": {"id": "default"}}
        project = {"admin": "admin", "watcher": "service"}.get(name, "demo")
        answer = httpx.post(
            f"{guarded.fakecloud_url}/identity/v3/auth/tokens",
            json={
                "auth": {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {"project": {"name": project, "domain": {"id": "default"}}},
                }
            },
        )
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]

    return login


@pytest.fixture(scope="module")
def channel(guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.ports.gateway}") as opened:
        yield opened


@pytest.fixture(scope="module")
def intruders(guarded, token):
    """Those who are refused: metadata by name."""
    expired = token("member")
    httpx.post(f"{guarded.fakecloud_url}/control/tokens/revoke", json={"user": "member"})
    return {
        "no token": {},
        "a token that ended": {"x-auth-token": expired},
        "a token of another role": {"x-auth-token": token("reader")},
    }


def audits(channel, metadata):
    stub = audit_pb2_grpc.AuditServiceStub(channel)
    return stub.ListAudits(audit_pb2.ListAuditsRequest(), timeout=10, metadata=metadata)


def model(channel, metadata):
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return next(iter(stub.WatchModel(model_pb2.WatchModelRequest(), timeout=10, metadata=metadata)))


def infer(channel, metadata):
    call = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
    return call(b"", timeout=10, metadata=metadata)


def metrics(channel, metadata):
    call = channel.unary_unary("/trimtab.model.v1.MetricsService/GetMetrics")
    return call(b"", timeout=10, metadata=metadata)


CALLS = {
    audits: "audit:get_all",
    model: "model:watch",
    metrics: "model:watch",
    infer: "scoring:infer",
}


@pytest.mark.req("A-033", "A-034")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("no token", grpc.StatusCode.UNAUTHENTICATED),
        ("a token that ended", grpc.StatusCode.UNAUTHENTICATED),
        ("a token of another role", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
def test_a_grpc_call_is_refused(channel, intruders, call, who, code):
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, tuple(intruders[who].items()))
    assert refused.value.code() is code
    denied = f"Policy doesn't allow {CALLS[call]} to be performed."
    expected = NO_ENTRY if code is grpc.StatusCode.UNAUTHENTICATED else denied
    assert refused.value.details() == expected


@pytest.mark.req("A-014", "A-016", "A-033", "A-034")
@pytest.mark.parametrize("door", ["url", "asgi_url"])
@pytest.mark.parametrize(
    ("who", "status", "fault"),
    [
        ("no token", 401, NO_ENTRY),
        ("a token that ended", 401, NO_ENTRY),
        (
            "a token of another role",
            403,
            "Policy doesn't allow audit:get_all to be performed.",
        ),
    ],
)
def test_a_rest_call_is_refused(guarded, intruders, door, who, status, fault):
    answer = httpx.get(f"{getattr(guarded, door)}/v1/audits", headers=intruders[who])
    assert answer.status_code == status
    inner = f'{{"faultcode":"Client","faultstring":"{fault}","debuginfo":null}}'
    assert answer.text == json.dumps({"error_message": inner}, separators=(",", ":"))
    challenge = f'Keystone uri="{guarded.fakecloud_url}/identity/v3"' if status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge


@pytest.mark.req("A-033", "A-034")
@pytest.mark.parametrize("name", ["admin", "watcher"])
def test_an_operator_comes_in_everywhere(guarded, channel, token, name):
    metadata = (("x-auth-token", token(name)),)
    for door in (guarded.url, guarded.asgi_url):
        answer = httpx.get(f"{door}/v1/audits", headers=dict(metadata))
        assert answer.json() == {"audits": []}
    assert list(audits(channel, metadata).audits) == []
    assert model(channel, metadata).WhichOneof("event") == "begin"
    ops = ops_pb2_grpc.OpsServiceStub(channel)
    assert ops.ListServices(ops_pb2.ListServicesRequest(), timeout=10, metadata=metadata).services


def test_an_unmodified_triton_client_infers_with_a_token(guarded, token):
    script = (
        "import sys, numpy as np, tritonclient.grpc as t\n"
        "c = t.InferenceServerClient(sys.argv[1])\n"
        "x = t.InferInput('features', [1, 9], 'FP64')\n"
        "x.set_data_from_numpy(np.array([[90., 1, 1, 1, 1, 1, 1, 1, 1]]))\n"
        "headers = {'x-auth-token': sys.argv[2]}\n"
        "print(c.infer('dummy_scorer', [x], headers=headers).as_numpy('scores').tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, f"127.0.0.1:{guarded.ports.gateway}", token("admin")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [[1, 0, 100, 0, 0]]
