"""A slow, hanging or failing engine is told clearly and delays nobody but its callers."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as oip
from inference import grpc_service_pb2_grpc as oip_grpc
from trimtab.scoring.v1 import scoring_pb2 as pb
from trimtab.scoring.v1 import scoring_pb2_grpc as pb_grpc
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.runtime.settings import CommonSettings
from trimtab_scoring.engines.dummy_aggregates import AggregateScorer
from trimtab_scoring.main import build
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.settings import ScoringSettings

released = threading.Event()


def hang(_features):
    released.wait(30)
    return 1.0


def fail(_features):
    raise ZeroDivisionError("no such thing")


def lie(_features):
    return float("nan")


def engine(name, fold):
    return AggregateScorer(name=name, description="", fold=fold)


class HangingContainer:
    def __init__(self):
        self.is_hanging = False

    def engines(self):
        if self.is_hanging:
            released.wait(30)
        return [engine("offered", max)]


@pytest.fixture
def container():
    return HangingContainer()


@pytest.fixture
async def stub(container):
    released.clear()
    registry = EngineRegistry(
        engines=[engine("hangs", hang), engine("fails", fail), engine("lies", lie)],
        containers=[container],
        plugins=lambda _group: (),
    )
    settings = CommonSettings(host="test", scoring="127.0.0.1:0", metrics_offset=0)
    limits = ScoringSettings(engine_timeout_s=0.5, engine_threads=2, engine_max_calls=3)
    service = await build(settings, registry, limits)
    await service.start()
    async with open_channel(f"127.0.0.1:{service.bound_port}") as channel:
        yield pb_grpc.ScoringServiceStub(channel)
    released.set()
    await service.stop(grace_s=0)


async def asked(stub, name, limit_s=5.0):
    request = pb.CalculateScoreRequest(engine=name, features=[1.0, 2.0])
    return list((await stub.CalculateScore(request, timeout=limit_s)).scores)


async def refusal(stub, name, limit_s=5.0):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(stub, name, limit_s)
    return caught.value


@pytest.mark.req("B-312")
async def test_a_hanging_engine_is_given_up_and_others_answer_at_once(stub):
    waiting = [asyncio.create_task(refusal(stub, "hangs")) for _ in range(3)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    assert await asked(stub, "offered") == [2.0]
    assert time.monotonic() - began < 0.4
    for error in await asyncio.gather(*waiting):
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert error.details() == "Scoring engine hangs did not answer within 0.5 s."
    too_many = await refusal(stub, "hangs")
    assert too_many.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "3 calls under way" in too_many.details()
    released.set()
    for _ in range(100):
        await asyncio.sleep(0.02)
        try:
            assert await asked(stub, "hangs") == [1.0]
            break
        except grpc.aio.AioRpcError:
            continue
    else:
        pytest.fail("never asked again")


async def test_a_caller_in_a_hurry_hears_the_engines_name_before_his_own_deadline(stub):
    error = await refusal(stub, "hangs", limit_s=0.3)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "Scoring engine hangs" in error.details()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fails", "Scoring engine fails failed: ZeroDivisionError: no such thing."),
        ("lies", "Scoring engine lies gave nan as score 0, no finite number."),
    ],
)
async def test_what_an_engine_does_wrong_reaches_the_caller(stub, name, told):
    error = await refusal(stub, name)
    assert error.details() == told
    assert from_rpc_error(error).details["reason"] == "SCORING_ENGINE_FAILED"


async def test_a_container_that_hangs_leaves_the_engines_as_last_seen(stub, container):
    container.is_hanging = True
    for _ in range(2):
        answer = await stub.ListEngines(pb.ListEnginesRequest(), timeout=10)
        assert [one.name for one in answer.engines] == ["fails", "hangs", "lies", "offered"]
    assert await asked(stub, "offered") == [2.0]


NINE = [10, 8e9, 4e9, 1000, 1000, 0, 0, 0, 0]
COLUMNS = [
    "PROCESSOR_TIME_PERC",
    "MEM_TOTAL_BYTES",
    "MEM_AVAIL_BYTES",
    "MEM_PAGE_READS_PER_SEC",
    "MEM_PAGE_WRITES_PER_SEC",
    "DISK_READ_BYTES_PER_SEC",
    "DISK_WRITE_BYTES_PER_SEC",
    "NET_BYTES_RECEIVED_PER_SEC",
    "NET_BYTES_SENT_PER_SEC",
]


def by_column(datatype="FP64", names=COLUMNS, outputs=(), units=None, n_rows=2):
    request = oip.ModelInferRequest(model_name="dummy_scorer")
    for name in names:
        value = NINE[COLUMNS.index(name)] if name in COLUMNS else 0
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[n_rows, 1])
        tensor.contents.fp64_contents.extend([value] * n_rows)
        if units is not None:
            tensor.parameters["units"].string_param = units
    for name in outputs:
        request.outputs.add(name=name)
    return request


@pytest.mark.req("B-310")
async def test_features_may_come_as_named_columns_in_any_order(channel):
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    request = by_column(names=list(reversed(COLUMNS)), outputs=["memory-probability", "workload"])
    answer = await stub.ModelInfer(request, timeout=5)
    assert [(o.name, list(o.shape), list(o.contents.fp64_contents)) for o in answer.outputs] == [
        ("memory-probability", [2], [100, 100]),
        ("workload", [2], [2, 2]),
    ]
    described = await stub.ModelMetadata(oip.ModelMetadataRequest(name="dummy_scorer"), timeout=5)
    assert "PROCESSOR_TIME_PERC" in described.inputs[0].parameters["columns"].string_param
    assert described.inputs[0].parameters["units"].string_param.startswith('["%", "B"')
    assert "cpu-intensive" in described.parameters["workloads"].string_param


@pytest.mark.req("B-310")
async def test_a_client_may_say_in_which_order_and_units_its_features_come(channel):
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    request = oip.ModelInferRequest(model_name="dummy_scorer")
    tensor = request.inputs.add(name="features", datatype="UINT64", shape=[9])
    tensor.contents.uint64_contents.extend(int(x) for x in reversed(NINE))
    names = ", ".join(f'"{name}"' for name in reversed(COLUMNS))
    tensor.parameters["columns"].string_param = f"[{names}]"
    answer = await stub.ModelInfer(request, timeout=5)
    assert list(answer.outputs[0].contents.fp64_contents) == [2, 0, 0, 100, 0]
    named = pb.CalculateScoreRequest(
        engine="dummy_scorer", features=NINE[::-1], feature_names=COLUMNS[::-1]
    )
    scored = await pb_grpc.ScoringServiceStub(channel).CalculateScore(named, timeout=5)
    assert list(scored.scores) == [2, 0, 0, 100, 0]
    tensor.parameters["units"].string_param = '["MiB"]'
    with pytest.raises(grpc.aio.AioRpcError, match="1 units are given for 9 columns"):
        await stub.ModelInfer(request, timeout=5)


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (by_column(names=COLUMNS[:8]), "has the features"),
        (by_column(names=[*COLUMNS, "nobody"]), "or one tensor for each of PROCESSOR_TIME_PERC"),
        (by_column(outputs=["nobody"]), "The outputs are 'scores', or workload"),
        (by_column(units='["percent"]'), "PROCESSOR_TIME_PERC must be in '%'; got 'percent'"),
        (by_column(units="%"), "must be a JSON list of texts"),
        (by_column(names=[*COLUMNS, COLUMNS[0]]), "has the features"),
    ],
)
async def test_columns_that_do_not_fit_are_refused(channel, request_, told):
    with pytest.raises(grpc.aio.AioRpcError, match=told) as caught:
        await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_, timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("datatype", ["FP16", "INT8", "UINT8", "INT16", "UINT16", "UINT32", "BOOL"])
async def test_every_numeric_datatype_is_read_raw(channel, datatype):
    dtype = {"FP16": "<f2", "BOOL": "?"}.get(
        datatype, datatype.lower().replace("uint8", "u1").replace("int8", "i1")
    )
    rows = np.zeros((3, 9)).astype(dtype)
    request = oip.ModelInferRequest(model_name="dummy_scorer", raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="features", datatype=datatype, shape=[3, 9])
    answer = await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=5)
    assert np.frombuffer(answer.raw_output_contents[0]).reshape(3, 5)[:, 1].tolist() == [100] * 3


async def test_engines_tell_their_columns_units_and_metadata(channel):
    answer = await pb_grpc.ScoringServiceStub(channel).ListEngines(
        pb.ListEnginesRequest(), timeout=5
    )
    dummy = next(one for one in answer.engines if one.name == "dummy_scorer")
    assert [c.name for c in dummy.features] == COLUMNS
    assert [c.unit for c in dummy.features][:4] == ["%", "B", "B", "1/s"]
    assert dummy.metadata["workloads"].startswith('["idle"')
