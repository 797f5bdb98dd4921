"""What people are told when a call fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import click
import grpc
import pytest
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab_cli.grpc_client import channel

AWAY = "The database does not answer: connection refused"


class Servicer(audit_pb2_grpc.AuditServiceServicer):
    """Answers with our own status, or with a bare one as a proxy does."""

    def __init__(self):
        self.own = True

    def ListAudits(self, request, context):  # noqa: N802, gRPC's name
        del request
        if not self.own:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no healthy upstream")
        status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=AWAY)
        context.abort_with_status(rpc_status.to_status(status))


def list_audits(address):
    with channel(address, None) as opened:
        stub = audit_pb2_grpc.AuditServiceStub(opened)
        stub.ListAudits(audit_pb2.ListAuditsRequest(), timeout=10)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (True, AWAY),
        (False, "Trimtab does not answer at {} (no healthy upstream). Is it up? Try `trimtab up`."),
    ],
)
def test_what_a_service_says_is_told_from_silence(own, words):
    servicer = Servicer()
    servicer.own = own
    server = grpc.server(ThreadPoolExecutor(1))
    audit_pb2_grpc.add_AuditServiceServicer_to_server(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with pytest.raises(click.ClickException) as told:
            list_audits(address)
        assert told.value.message == words.format(address)
    finally:
        server.stop(None).wait(5)
