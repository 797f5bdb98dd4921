"""Wake-ups never fail and never wait."""

import asyncio

import grpc.aio
import pytest

from trimtab.decision.v1 import decision_pb2, decision_pb2_grpc
from trimtab_api.wake import MAX_IN_FLIGHT, GrpcWaker


class Decision(decision_pb2_grpc.DecisionServiceServicer):
    def __init__(self):
        self.woken = asyncio.Queue()

    async def WakeAudit(self, request, context):  # noqa: ARG002, N802, named by the proto
        await self.woken.put(request.uuid)
        return decision_pb2.WakeAuditResponse()


@pytest.fixture
async def decision():
    servicer = Decision()
    server = grpc.aio.server()
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer
    await server.stop(0)


async def test_decision_hears_of_the_audit(decision):
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{decision.port}") as up,
        grpc.aio.insecure_channel("127.0.0.1:1") as nowhere,
    ):
        waker = GrpcWaker(decision=up, applier=nowhere)
        waker.wake_audit("u")
        assert await asyncio.wait_for(decision.woken.get(), 5) == "u"
        waker.wake_plan("p")  # nobody listens there: logged, not raised
        await waker.close()


async def test_wake_ups_are_dropped_when_nobody_takes_them():
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        waker = GrpcWaker(decision=nowhere, applier=nowhere)
        for number in range(MAX_IN_FLIGHT + 20):
            waker.wake_audit(str(number))
        assert len(waker._tasks) == MAX_IN_FLIGHT
        await waker.close()
        assert not waker._tasks
