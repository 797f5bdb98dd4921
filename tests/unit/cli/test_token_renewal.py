"""Commands that run for longer than a token lives get another one and go on."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import audits, models

REFUSED = "The request you have made requires authentication."


class Gateway(audit_pb2_grpc.AuditServiceServicer, model_pb2_grpc.ModelServiceServicer):
    """Takes each token for one call; remembers from where each stream was to go on."""

    def __init__(self):
        self.used = set()
        self.places = []

    def check(self, context):
        token = dict(context.invocation_metadata()).get("x-auth-token", "")
        if token in self.used:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSED)
        self.used.add(token)

    def WatchModel(self, request, context):  # noqa: N802, gRPC's name
        self.check(context)
        self.places.append(request.resume_token)
        number = len(self.places)
        change = model_pb2.Change(remove_server=f"server-{number}")
        yield model_pb2.WatchModelResponse(
            resume_token=f"place-{number}",
            deltas=model_pb2.DeltaBatch(deltas=[model_pb2.Delta(changes=[change])]),
        )

    def CreateAudit(self, request, context):  # noqa: N802, gRPC's name
        del request
        self.check(context)
        return audit_pb2.Audit(uuid="1", state="PENDING")

    def WatchAudits(self, request, context):  # noqa: N802, gRPC's name
        self.check(context)
        for uuid in request.audits:
            yield audit_pb2.WatchAuditsResponse(audit=audit_pb2.Audit(uuid=uuid, state="PENDING"))
            ended = audit_pb2.Audit(uuid=uuid, state="CANCELLED")
            yield audit_pb2.WatchAuditsResponse(change=audit_pb2.AuditChange(audit=ended))


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def address(gateway):
    server = grpc.server(ThreadPoolExecutor(4))
    audit_pb2_grpc.add_AuditServiceServicer_to_server(gateway, server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(gateway, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait(5)


class Caller:
    """A `Target` whose Keystone gives numbered tokens."""

    def __init__(self, address, *, renewable=True):
        self.address = address
        self.renewable = renewable
        self.number = 1

    @property
    def token(self):
        return f"token-{self.number}"

    def renew(self):
        if not self.renewable:
            return None
        self.number += 1
        return self.token


def test_a_watch_goes_on_with_a_new_token_where_it_was(gateway, address):
    command = ["watch", "--count", "3", "-o", "json"]
    result = CliRunner().invoke(models.group, command, obj=Caller(address))
    assert result.exit_code == 0, result.output
    shown = [json.loads(line) for line in result.output.splitlines()]
    assert [m["resume_token"] for m in shown] == ["place-1", "place-2", "place-3"]
    assert gateway.places == ["", "place-1", "place-2"]


def test_a_watch_with_a_given_token_says_what_to_do_when_it_ends(address):
    caller = Caller(address, renewable=False)
    result = CliRunner().invoke(models.group, ["watch"], obj=caller)
    assert result.exit_code == 1
    assert f"{REFUSED} Name a cloud with --cloud" in result.output


def test_a_watch_whose_new_token_is_refused_too_ends(gateway, address):
    gateway.used |= {"token-1", "token-2"}
    caller = Caller(address)
    result = CliRunner().invoke(models.group, ["watch"], obj=caller)
    assert result.exit_code == 1
    assert caller.number == 2


def test_waiting_for_an_audit_outlives_the_token(address):
    command = ["create", "--goal", "dummy", "--watch", "-o", "json"]
    caller = Caller(address)
    result = CliRunner().invoke(audits.group, command, obj=caller)
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["state"] == "CANCELLED"
    assert caller.number == 2
