from __future__ import annotations

import json

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as oip
from inference import grpc_service_pb2_grpc as oip_grpc
from trimtab.scoring.v1 import scoring_pb2 as pb
from trimtab.scoring.v1 import scoring_pb2_grpc as pb_grpc
from trimtab_common.runtime.errors import from_rpc_error

MEMORY_BOUND = [10, 8e9, 4e9, 1000, 1000, 0, 0, 0, 0]
MEMORY_SCORES = [2, 0, 0, 100, 0]


@pytest.mark.req("B-310", "B-316")
async def test_engines_are_listed_with_description_and_metainfo(channel):
    answer = await pb_grpc.ScoringServiceStub(channel).ListEngines(
        pb.ListEnginesRequest(), timeout=5
    )
    assert [engine.name for engine in answer.engines] == [
        "dummy_avg_scorer",
        "dummy_max_scorer",
        "dummy_min_scorer",
        "dummy_scorer",
    ]
    assert all(engine.description and json.loads(engine.metainfo) for engine in answer.engines)


@pytest.mark.req("B-310")
async def test_scores_come_as_doubles_or_as_json(channel):
    stub = pb_grpc.ScoringServiceStub(channel)
    doubles = await stub.CalculateScore(
        pb.CalculateScoreRequest(engine="dummy_scorer", features=MEMORY_BOUND), timeout=5
    )
    assert list(doubles.scores) == MEMORY_SCORES
    text = await stub.CalculateScore(
        pb.CalculateScoreRequest(
            engine="dummy_scorer", features_json=json.dumps([90, 0, 0, 0, 0, 0, 0, 0, 0])
        ),
        timeout=5,
    )
    assert text.scores_json == "[1, 0, 100, 0, 0]"


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (
            pb.CalculateScoreRequest(engine="nobody"),
            grpc.StatusCode.NOT_FOUND,
            "SCORING_ENGINE_NOT_FOUND",
        ),
        (
            pb.CalculateScoreRequest(engine="dummy_scorer", features=[1]),
            grpc.StatusCode.INVALID_ARGUMENT,
            "FEATURES_REFUSED",
        ),
        (
            pb.CalculateScoreRequest(engine="dummy_scorer", features_json="{"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "FEATURES_REFUSED",
        ),
    ],
)
@pytest.mark.req("B-311", "B-315")
async def test_bad_requests_are_answered_with_status_and_reason(channel, request_, code, reason):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await pb_grpc.ScoringServiceStub(channel).CalculateScore(request_, timeout=5)
    assert caught.value.code() is code
    assert from_rpc_error(caught.value).details["reason"] == reason


def infer(datatype, shape, *, raw=None, model="dummy_scorer", version="", name="features", **typed):
    return oip.ModelInferRequest(
        model_name=model,
        model_version=version,
        id="7",
        inputs=[
            oip.ModelInferRequest.InferInputTensor(
                name=name,
                datatype=datatype,
                shape=shape,
                contents=oip.InferTensorContents(**typed) if typed else None,
            )
        ],
        raw_input_contents=[] if raw is None else [raw],
    )


@pytest.mark.req("B-310")
@pytest.mark.parametrize(
    ("datatype", "field", "dtype"),
    [
        ("FP64", "fp64_contents", "<f8"),
        ("FP32", "fp32_contents", "<f4"),
        ("INT64", "int64_contents", "<i8"),
    ],
)
async def test_typed_and_raw_tensors_give_the_same_scores(channel, datatype, field, dtype):
    stub = oip_grpc.GRPCInferenceServiceStub(channel)
    row = np.array([int(x) % 2**30 for x in MEMORY_BOUND])
    typed = await stub.ModelInfer(infer(datatype, [9], **{field: row.tolist()}), timeout=5)
    assert typed.id == "7"
    assert list(typed.outputs[0].shape) == [5]
    assert list(typed.outputs[0].contents.fp64_contents) == MEMORY_SCORES
    assert not typed.raw_output_contents
    batch = np.stack([row, row]).astype(dtype)
    raw = await stub.ModelInfer(infer(datatype, [2, 9], raw=batch.tobytes()), timeout=5)
    assert list(raw.outputs[0].shape) == [2, 5]
    scores = np.frombuffer(raw.raw_output_contents[0], "<f8").reshape(2, 5)
    assert scores.tolist() == [MEMORY_SCORES, MEMORY_SCORES]


ROW = [0.0] * 9


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (infer("FP64", [9], fp64_contents=ROW, model="nobody"), grpc.StatusCode.NOT_FOUND),
        (infer("FP64", [9], fp64_contents=ROW, version="2"), grpc.StatusCode.NOT_FOUND),
        (infer("FP64", [9], fp64_contents=ROW, name="x"), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("BYTES", [9], bytes_contents=[b"x"]), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [10], fp64_contents=ROW), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [1, 3, 3], fp64_contents=ROW), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [-1, 9], fp64_contents=ROW), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [2**62, 4], fp64_contents=ROW), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [3, 3], fp64_contents=ROW), grpc.StatusCode.INVALID_ARGUMENT),
        (infer("FP64", [1, 9], raw=b"1234567"), grpc.StatusCode.INVALID_ARGUMENT),
        (
            infer("FP64", [9], raw=bytes(72), fp64_contents=ROW),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (
            infer("FP64", [9], fp64_contents=[float("nan"), *ROW[1:]]),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
        (oip.ModelInferRequest(model_name="dummy_scorer"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
@pytest.mark.req("B-315")
async def test_malformed_tensors_are_refused(channel, request_, code):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_, timeout=5)
    assert caught.value.code() is code
