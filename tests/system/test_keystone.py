"""Access at the gateway with auth=keystone: who comes in, who does not, and what each is told.

A second system on its own row of ports, before the fake cloud's Keystone. No audit is run here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab.ops.v1 import ops_pb2, ops_pb2_grpc
from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

TOKEN_LIFE_S = 30
NO_ENTRY = "The request you have made requires authentication."


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("guarded")),
        ports=ports.free_row(),
        auth="keystone",
        fakecloud_args=("--hosts", "2", "--servers", "4", "--token-seconds", f"{TOKEN_LIFE_S}"),
        max_stream_age_s=2,
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


@pytest.fixture(scope="module", autouse=True)
def first_token(token):
    """Taken when the system starts, so that it ends before the last test does."""
    return token("admin")


@pytest.fixture(scope="module")
def channel(guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.ports.gateway}") as opened:
        yield opened


@pytest.fixture(scope="module")
def intruders(guarded, token):
    """Those who are refused: metadata by name."""
    revoked = token("member")
    httpx.post(f"{guarded.fakecloud_url}/control/tokens/revoke", json={"user": "member"})
    return {
        "no token": {},
        "a revoked token": {"x-auth-token": revoked},
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
        ("a revoked token", grpc.StatusCode.UNAUTHENTICATED),
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
        ("a revoked token", 401, NO_ENTRY),
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


def eventually(check, limit_s):
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


def test_a_stream_ends_after_its_age_and_goes_on_where_it_was(channel, token):
    metadata = (("x-auth-token", token("admin")),)
    watch = model_pb2_grpc.ModelServiceStub(channel).WatchModel
    seen = list(watch(model_pb2.WatchModelRequest(), timeout=20, metadata=metadata))
    assert seen[0].WhichOneof("event") == "begin"
    again = model_pb2.WatchModelRequest(resume_token=seen[-1].resume_token)
    first = next(iter(watch(again, timeout=10, metadata=metadata)))
    assert first.WhichOneof("event") != "begin"


def test_a_watcher_with_a_cloud_gets_a_new_token_when_its_own_ends(guarded):
    clouds = {"OS_CLIENT_CONFIG_FILE": str(guarded.spec.state_dir / "clouds.yaml")}
    command = [str(Path(sys.executable).parent / "trimtab")]
    command += ["--address", f"127.0.0.1:{guarded.ports.gateway}", "--cloud", "watcher"]
    command += ["model", "watch", "--heartbeat", "1", "-o", "json"]
    environment = {**os.environ, **clouds}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as watcher:
        guard = threading.Timer(60, watcher.kill)
        guard.start()
        try:
            assert "begin" in json.loads(watcher.stdout.readline())
            revoke = {"user": "watcher"}
            answer = httpx.post(f"{guarded.fakecloud_url}/control/tokens/revoke", json=revoke)
            assert answer.json()["revoked"] >= 1
            until = time.monotonic() + 6  # two lives of a stream, six of a remembered token
            for line in watcher.stdout:
                assert "begin" not in json.loads(line), "it did not go on where it was"
                if time.monotonic() > until:
                    break
            assert watcher.poll() is None
        finally:
            guard.cancel()
            watcher.kill()


def test_without_api_nobody_comes_in(guarded, channel, token):
    metadata = (("x-auth-token", token("admin")),)
    api = guarded.child("api")
    os.kill(api.pid, signal.SIGKILL)
    api.process.wait(10)
    try:
        for call in (model, metrics, infer):
            with pytest.raises(grpc.RpcError) as refused:
                call(channel, metadata)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert refused.value.details() == (
                "Your token cannot be checked at the moment. Try again in a few seconds."
            )
    finally:
        api.start()
        guarded._await_grpc("api")


def test_the_question_of_the_edge_cannot_be_asked_through_it(guarded, token):
    answer = httpx.post(
        f"{guarded.url}/_authz/trimtab.model.v1.ModelService/WatchModel",
        headers={"x-auth-token": token("admin")},
    )
    assert answer.status_code == 404


def test_grpc_health_needs_no_token(channel):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.req("A-033")
def test_a_token_ends_while_it_is_in_use(guarded, channel, first_token):
    metadata = {"x-auth-token": first_token}
    url = f"{guarded.url}/v1/audits"
    eventually(lambda: httpx.get(url, headers=metadata).status_code == 401, TOKEN_LIFE_S + 15)
    fault = json.loads(httpx.get(url, headers=metadata).json()["error_message"])
    assert fault == {"faultcode": "Client", "faultstring": NO_ENTRY, "debuginfo": None}
    for call in CALLS:
        with pytest.raises(grpc.RpcError) as refused:
            call(channel, tuple(metadata.items()))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert refused.value.details() == NO_ENTRY
