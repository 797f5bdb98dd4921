"""Who comes in at the gateway with a token of the real Keystone, and what the others are told.

A token that has ended and one that was revoked are the same to Keystone's answer (404); the cloud's
tokens live for a day, so that it is a revoked one here.
"""

from __future__ import annotations

import json
import subprocess
import sys

import grpc
import httpx
import openstack
import pytest
import yaml
from cloud_users import ROLES, entry_of, small_users

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc

NO_ENTRY = "The request you have made requires authentication."


@pytest.fixture(scope="module")
def login(cloud, clouds_yaml):
    """Gives a new token of an administrator or of one of the small users."""
    clouds = yaml.safe_load(clouds_yaml.read_text())["clouds"]

    def new(user):
        entry = entry_of(user, clouds["devcloud"]) if user in ROLES else clouds[user]
        with openstack.connection.Connection(
            auth=entry["auth"], region_name=entry["region_name"]
        ) as connection:
            return connection.auth_token

    with small_users(cloud.connection):
        yield new


@pytest.fixture(scope="module")
def callers(cloud, login):
    """Headers by who calls."""
    ended = login("devcloud")
    headers = {"X-Subject-Token": ended}
    assert cloud.connection.identity.delete("/auth/tokens", headers=headers).status_code == 204
    return {
        "nobody": {},
        "an ended token": {"x-auth-token": ended},
        "a reader": {"x-auth-token": login("reader")},
        "an administrator": {"x-auth-token": login("devcloud")},
        "the service's user": {"x-auth-token": login("watcher")},
    }


@pytest.fixture
def channel(system):
    with grpc.insecure_channel(f"127.0.0.1:{system.ports.gateway}") as opened:
        yield opened


def audits(channel, metadata):
    stub = audit_pb2_grpc.AuditServiceStub(channel)
    return stub.ListAudits(audit_pb2.ListAuditsRequest(), timeout=30, metadata=metadata)


def model(channel, metadata):
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return next(iter(stub.WatchModel(model_pb2.WatchModelRequest(), timeout=30, metadata=metadata)))


def infer(channel, metadata):
    call = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
    return call(b"", timeout=30, metadata=metadata)


RULES = {audits: "audit:get_all", model: "model:watch", infer: "scoring:infer"}


@pytest.mark.req("A-033", "A-034")
@pytest.mark.parametrize("call", RULES, ids=lambda call: call.__name__)
@pytest.mark.parametrize("who", ["nobody", "an ended token", "a reader"])
def test_a_grpc_call_is_refused(channel, callers, call, who):
    with pytest.raises(grpc.RpcError) as refused:
        call(channel, tuple(callers[who].items()))
    denied = f"Policy doesn't allow {RULES[call]} to be performed."
    code, words = grpc.StatusCode.UNAUTHENTICATED, NO_ENTRY
    if who == "a reader":
        code, words = grpc.StatusCode.PERMISSION_DENIED, denied
    assert (refused.value.code(), refused.value.details()) == (code, words)


@pytest.mark.req("A-014", "A-033", "A-034")
@pytest.mark.parametrize(
    ("who", "status", "fault"),
    [
        ("nobody", 401, NO_ENTRY),
        ("an ended token", 401, NO_ENTRY),
        ("a reader", 403, "Policy doesn't allow audit:get_all to be performed."),
    ],
)
def test_a_rest_call_is_refused(system, callers, who, status, fault):
    answer = httpx.get(f"{system.url}/v1/audits", headers=callers[who], timeout=30)
    inner = f'{{"faultcode":"Client","faultstring":"{fault}","debuginfo":null}}'
    assert answer.status_code == status
    assert answer.text == json.dumps({"error_message": inner}, separators=(",", ":"))
    challenge = 'Keystone uri="http://127.0.0.1:5000/v3"' if status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge


@pytest.mark.req("A-033", "A-034")
@pytest.mark.parametrize("who", ["an administrator", "the service's user"])
def test_an_operator_comes_in_everywhere(system, channel, callers, who):
    metadata = tuple(callers[who].items())
    answer = httpx.get(f"{system.url}/v1/audits", headers=callers[who], timeout=30)
    assert answer.status_code == 200
    assert len(audits(channel, metadata).audits) == len(answer.json()["audits"])
    assert model(channel, metadata).WhichOneof("event") == "begin"
    infer(channel, metadata)


def test_an_unmodified_triton_client_infers_with_a_token(system, callers):
    script = (
        "import sys, numpy as np, tritonclient.grpc as t\n"
        "c = t.InferenceServerClient(sys.argv[1])\n"
        "x = t.InferInput('features', [1, 9], 'FP64')\n"
        "x.set_data_from_numpy(np.array([[90., 1, 1, 1, 1, 1, 1, 1, 1]]))\n"
        "headers = {'x-auth-token': sys.argv[2]}\n"
        "print(c.infer('dummy_scorer', [x], headers=headers).as_numpy('scores').tolist())\n"
    )
    token = callers["an administrator"]["x-auth-token"]
    result = subprocess.run(
        [sys.executable, "-c", script, f"127.0.0.1:{system.ports.gateway}", token],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [[1, 0, 100, 0, 0]]
