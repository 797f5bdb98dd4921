"""A service process: what it refuses, what it answers, what it says of its health."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab_common.domain import errors
from trimtab_common.runtime import channels, logs
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.runtime.service import Service, is_loopback
from trimtab_common.runtime.settings import CommonSettings

NAME = "trimtab.applier.v1.ApplierService"


class Applier(applier_pb2_grpc.ApplierServiceServicer):
    """Raises what it is told to; remembers the request id."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.request_id = ""

    async def WakePlan(self, _request, _context):  # noqa: N802, the contract's name
        self.request_id = logs.current_request_id()
        if self.error:
            raise self.error
        return applier_pb2.WakePlanResponse()


async def ask(servicer: Applier):
    """One call through a real server; gives the answer."""
    service = Service("test", "127.0.0.1:0", settings=CommonSettings(host="h"))
    service.add(servicer, applier_pb2_grpc.add_ApplierServiceServicer_to_server, NAME)
    await service.start()
    try:
        async with channels.open_channel(f"127.0.0.1:{service.bound_port}") as channel:
            stub = applier_pb2_grpc.ApplierServiceStub(channel)
            return await stub.WakePlan(applier_pb2.WakePlanRequest(uuid="u"), timeout=5)
    finally:
        await service.stop(0)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (errors.NotFound("no such plan", uuid="u"), grpc.StatusCode.NOT_FOUND),
        (errors.InvalidArgument("bad"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.Conflict("busy"), grpc.StatusCode.ABORTED),
        (errors.Unauthenticated("who?"), grpc.StatusCode.UNAUTHENTICATED),
        (errors.StaleModel("old"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_domain_error_crosses_the_wire_with_its_reason_and_details(raised, code):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(Applier(raised))
    assert caught.value.code() is code
    found = from_rpc_error(caught.value)
    assert found.message == raised.message
    assert found.details["reason"] == raised.reason
    assert raised.details.items() <= found.details.items()


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
async def test_an_error_that_quotes_a_very_long_value_still_arrives(letter):
    error = errors.InvalidArgument(f"bad value {letter * 1_000_000}", value=letter * 1_000_000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(Applier(error))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith(f"bad value {letter}")
    assert caught.value.details().endswith("...")


async def test_an_error_that_knows_when_to_try_again_says_so_as_grpc_does():
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(Applier(errors.ResourceExhausted("too often", retry_after_s="2.5")))
    status = rpc_status.from_call(caught.value)
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500
    assert from_rpc_error(caught.value).details["retry_after_s"] == "2.5"


async def test_more_calls_than_allowed_are_refused_at_once_and_later_ones_are_taken():
    entered, go = asyncio.Semaphore(0), asyncio.Event()

    class Slow(Applier):
        async def WakePlan(self, _request, _context):  # noqa: N802, the contract's name
            entered.release()
            await go.wait()
            return applier_pb2.WakePlanResponse()

    settings = CommonSettings(host="h", max_concurrent_calls=3)
    service = Service("test", "127.0.0.1:0", settings=settings)
    service.add(Slow(), applier_pb2_grpc.add_ApplierServiceServicer_to_server, NAME)
    await service.start()
    try:
        async with channels.open_channel(f"127.0.0.1:{service.bound_port}") as channel:
            wake = applier_pb2_grpc.ApplierServiceStub(channel).WakePlan
            request = applier_pb2.WakePlanRequest(uuid="u")
            taken = [wake(request, timeout=20) for _ in range(3)]
            for _ in taken:
                await entered.acquire()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await wake(request, timeout=20)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            go.set()
            await asyncio.gather(*taken)
            await wake(request, timeout=20)
    finally:
        await service.stop(0)


async def test_a_request_too_large_is_refused_before_anybody_reads_it():
    servicer = Applier()
    service = Service("test", "127.0.0.1:0", settings=CommonSettings(host="h"))
    service.add(servicer, applier_pb2_grpc.add_ApplierServiceServicer_to_server, NAME)
    await service.start()
    try:
        async with channels.open_channel(f"127.0.0.1:{service.bound_port}") as channel:
            wake = applier_pb2_grpc.ApplierServiceStub(channel).WakePlan
            await wake(applier_pb2.WakePlanRequest(uuid="u" * 4 * 1024 * 1024), timeout=20)
            servicer.request_id = ""
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await wake(applier_pb2.WakePlanRequest(uuid="u" * 5 * 1024 * 1024), timeout=20)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert not servicer.request_id
    finally:
        await service.stop(0)


async def test_an_unknown_error_says_where_to_look_and_nothing_else():
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(Applier(ValueError("a secret")))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "req-" in caught.value.details()
    assert "secret" not in caught.value.details()


async def test_the_request_id_of_the_caller_is_the_one_of_the_callee():
    servicer = Applier()
    wanted = logs.bind_request_id("req-11111111-2222-4333-8444-555555555555")
    await ask(servicer)
    assert servicer.request_id == wanted


async def test_a_started_service_is_serving_and_a_second_one_is_refused_its_address():
    settings = CommonSettings(host="h")
    service = Service("first", "127.0.0.1:0", settings=settings)
    service.add(Applier(), applier_pb2_grpc.add_ApplierServiceServicer_to_server, NAME)
    await service.start()
    try:
        address = f"127.0.0.1:{service.bound_port}"
        async with channels.open_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        second = Service("second", address, settings=settings)
        with pytest.raises(errors.FailedPrecondition, match="address is in use"):
            await second.start()
    finally:
        await service.stop(0)


def test_an_address_that_other_machines_reach_needs_insecure():
    with pytest.raises(errors.FailedPrecondition, match="insecure=true"):
        Service("open", "0.0.0.0:9324", settings=CommonSettings(host="h"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("10.0.0.1:1", False),
        ("controller:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(address, expected):
    assert is_loopback(address) is expected


async def test_a_background_task_that_fails_is_started_again():
    runs: list[int] = []
    again = asyncio.Event()

    async def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("first time")
        again.set()

    service = Service("test", "127.0.0.1:0", settings=CommonSettings(host="h"))
    service.background(work, "work")
    await service.start()
    try:
        await asyncio.wait_for(again.wait(), 10)
    finally:
        await service.stop(0)
    assert len(runs) == 2
