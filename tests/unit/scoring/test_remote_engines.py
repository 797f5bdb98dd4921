"""Remote engines against real servers of the protocol, by gRPC and by HTTP, good and bad ones."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from inference import grpc_service_pb2 as pb
from inference import grpc_service_pb2_grpc
from trimtab_common.domain.errors import TrimtabError
from trimtab_scoring.engine import EngineFailed
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.remote import RemoteEngines
from trimtab_scoring.remote.clients import RemoteTimedOut
from trimtab_scoring.remote.container import RemoteEngine
from trimtab_scoring.remote.file import RemoteFileRefused, read
from trimtab_scoring.remote.plan import RemoteModelMismatch, RemoteUnavailable
from trimtab_scoring.scores import score_batch, score_row

METADATA = pb.ModelMetadataResponse
TENSORS = {
    "x": ("FP32", [-1, 2]),
    "y": ("INT64", [-1]),
}


class Model(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Two inputs, x [-1, 2] and y [-1]; two outputs: sum of the row, and the row doubled."""

    def __init__(self, *, delay_s=0.0, spoil=lambda _answer: None, typed=False):
        self.seen = []
        self.metadata = []
        self._delay_s = delay_s
        self._spoil = spoil
        self._typed = typed

    def ModelMetadata(self, request, context):  # noqa: ARG002, N802, its interface
        return METADATA(
            name=request.name,
            inputs=[
                METADATA.TensorMetadata(name=name, datatype=datatype, shape=shape)
                for name, (datatype, shape) in TENSORS.items()
            ],
        )

    def ModelInfer(self, request, context):  # noqa: N802, its interface
        self.metadata.append(dict(context.invocation_metadata()))
        self.seen.append([(one.name, one.datatype, list(one.shape)) for one in request.inputs])
        time.sleep(self._delay_s)
        x = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(-1, 2).astype(float)
        y = np.frombuffer(request.raw_input_contents[1], "<i8").reshape(-1, 1).astype(float)
        rows = np.hstack([x, y])
        answer = pb.ModelInferResponse(model_name=request.model_name)
        for name, values in (("total", rows.sum(axis=1).astype("<f4")), ("twice", rows * 2)):
            output = answer.outputs.add(
                name=name, datatype="FP32" if name == "total" else "FP64", shape=values.shape
            )
            if self._typed:
                field = "fp32_contents" if name == "total" else "fp64_contents"
                getattr(output.contents, field).extend(values.ravel())
            else:
                answer.raw_output_contents.append(values.tobytes())
        self._spoil(answer)
        return answer


@contextmanager
def served(model):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None)


def written(folder, **changes):
    engine = {
        "name": "there",
        "url": "grpc://127.0.0.1:1",
        "features": [{"name": "a", "unit": "%"}, {"name": "b"}, {"name": "n"}],
        "scores": [{"name": name} for name in ("total", "a2", "b2", "n2")],
        "timeout_s": 5,
        **changes,
    }
    path = folder / "remote.yaml"
    path.write_text(json.dumps({"engines": [engine]}), encoding="utf-8")  # JSON is YAML
    return path


def remote(folder, **changes):
    (spec,) = read(written(folder, **changes))
    return RemoteEngine(spec)


ROWS = np.array([[1.5, 2, 3], [0, 0, -1]])
SCORES = [[6.5, 3, 4, 6], [-1, 0, 0, -2]]


@pytest.mark.req("B-312")
@pytest.mark.parametrize("typed", [False, True])
def test_features_fill_the_models_inputs_in_order_and_outputs_are_put_side_by_side(tmp_path, typed):
    model = Model(typed=typed)
    (tmp_path / "token").write_text("secret-token\n")
    with served(model) as url:
        engine = remote(
            tmp_path, url=url, token_file=str(tmp_path / "token"), headers={"X-Team": "planning"}
        )
        assert score_batch(engine, ROWS).tolist() == SCORES
        assert score_row(engine, [1.5, 2, 3]) == SCORES[0]
        engine.close()
    assert model.seen[0] == [("x", "FP32", [2, 2]), ("y", "INT64", [2])]
    assert model.metadata[0]["authorization"] == "Bearer secret-token"
    assert model.metadata[0]["x-team"] == "planning"


def test_outputs_are_chosen_and_large_batches_are_cut(tmp_path):
    model = Model()
    with served(model) as url:
        engine = remote(
            tmp_path, url=url, outputs=["total"], scores=[{"name": "total"}], max_rows=2
        )
        rows = np.repeat(ROWS, 3, axis=0)[:5]
        assert score_batch(engine, rows).ravel().tolist() == [6.5, 6.5, 6.5, -1, -1]
        engine.close()
    assert [seen[1][2] for seen in model.seen] == [[2], [2], [1]]


@pytest.mark.req("B-312")
def test_a_server_that_is_gone_is_told_at_once_and_not_asked_again_for_a_while(tmp_path):
    (spec,) = read(written(tmp_path, retry_after_s=60))
    engine = RemoteEngine(spec)
    with pytest.raises(RemoteUnavailable, match=r"there cannot be reached \(127.0.0.1:1\)"):
        score_row(engine, [1, 2, 3])
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="not asked for another") as waiting:
        score_row(engine, [1, 2, 3])
    assert time.monotonic() - began < 0.1
    assert float(waiting.value.details["retry_after_s"]) > 50


@pytest.mark.req("B-312")
def test_a_server_that_comes_back_is_asked_again(tmp_path):
    now = [0.0]
    model = Model()
    with served(model) as url:
        good = url
    (spec,) = read(written(tmp_path, url=good, retry_after_s=5))
    engine = RemoteEngine(spec, clock=lambda: now[0])
    with pytest.raises(RemoteUnavailable):
        score_row(engine, [1, 2, 3])
    server = grpc.server(futures.ThreadPoolExecutor(2))
    grpc_service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(model, server)
    assert server.add_insecure_port(good.removeprefix("grpc://"))
    server.start()
    try:
        now[0] = 4.9
        with pytest.raises(RemoteUnavailable, match="not asked"):
            score_row(engine, [1, 2, 3])
        until = time.monotonic() + 20  # gRPC's own pause between attempts to connect
        while time.monotonic() < until:
            now[0] += 6
            try:
                assert score_row(engine, [1.5, 2, 3]) == SCORES[0]
                break
            except RemoteUnavailable:
                time.sleep(0.1)
        else:
            pytest.fail("never asked again")
    finally:
        engine.close()
        server.stop(None)


@pytest.mark.req("B-312")
def test_a_slow_server_is_given_up_in_time(tmp_path):
    with served(Model(delay_s=3)) as url:
        engine = remote(tmp_path, url=url, timeout_s=0.3)
        began = time.monotonic()
        with pytest.raises(RemoteTimedOut, match=r"there did not answer within 0.3 s"):
            score_row(engine, [1, 2, 3])
        assert time.monotonic() - began < 2
        engine.close()


def drop_output(answer):
    del answer.outputs[1]
    del answer.raw_output_contents[1]


def cut_short(answer):
    answer.raw_output_contents[1] = answer.raw_output_contents[1][:-3]


def other_shape(answer):
    answer.outputs[1].shape[1] = 7


def not_a_number(answer):
    answer.raw_output_contents[0] = np.array([np.nan], "<f4").tobytes()


def text(answer):
    answer.outputs[0].datatype = "BYTES"


def row_lost(answer):
    answer.raw_output_contents[0] = b""
    answer.outputs[0].shape[0] = 0


def contents_lost(answer):
    del answer.raw_output_contents[1]


@pytest.mark.req("B-312")
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (drop_output, "gave 1 scores a row"),
        (cut_short, "no whole number of elements"),
        (other_shape, "elements and the shape"),
        (not_a_number, "no finite number"),
        (text, "is BYTES, no numbers"),
        (row_lost, r"for 1 rows"),
        (contents_lost, "gave 1 raw contents for 2 outputs"),
    ],
)
def test_a_wrong_answer_is_an_error_that_says_what_is_wrong(tmp_path, spoil, told):
    with served(Model(spoil=spoil)) as url:
        engine = remote(tmp_path, url=url)
        with pytest.raises(EngineFailed, match=told):
            score_row(engine, [1, 2, 3])
        engine.close()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"features": [{"name": "a"}]}, "has 1 features in the file"),
        ({"features": [{"name": c} for c in "abcd"]}, "has 4 features in the file"),
        ({"outputs": ["nothing"]}, "did not give the outputs nothing"),
        ({"scores": [{"name": "one"}]}, "the file names 1"),
        ({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1, 3]}]}, "no numbers"),
    ],
)
def test_a_model_that_is_not_as_the_file_says_is_told(tmp_path, changes, told):
    with served(Model()) as url:
        engine = remote(tmp_path, url=url, **changes)
        with pytest.raises(RemoteModelMismatch, match=told):
            score_row(engine, [1.0] * engine.n_features)
        engine.close()


def test_a_feature_that_its_tensor_cannot_hold_is_refused(tmp_path):
    with served(Model()) as url:
        engine = remote(tmp_path, url=url)
        with pytest.raises(RemoteModelMismatch, match="y of remote engine there is INT64"):
            score_row(engine, [1, 2, 3.5])
        with pytest.raises(RemoteModelMismatch, match="too large"):
            score_row(engine, [1e300, 2, 3])
        engine.close()


class Handler(BaseHTTPRequestHandler):
    """The protocol over HTTP: model `sum` as a server without batches has it, [3]."""

    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        self._answer(
            200, {"name": "sum", "inputs": [{"name": "v", "datatype": "FP64", "shape": [3]}]}
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/base/v2/models/sum/versions/7/infer":
            self._answer(404, {"error": "no such model"})
            return
        (tensor,) = body["inputs"]
        assert tensor["shape"] == [3]
        total = sum(tensor["data"])
        if total < 0:
            self._answer(400, {"error": "negative"})
        elif total > 100:
            self._answer(200, ["nonsense"])
        elif total > 50:
            self._answer(503, {})
        else:
            outputs = [{"name": "s", "datatype": "FP64", "shape": [1], "data": [total]}]
            self._answer(200, {"outputs": outputs})

    def _answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.req("B-312")
def test_a_server_without_batches_is_asked_row_by_row_over_http(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    engine = remote(
        tmp_path,
        url=f"http://127.0.0.1:{server.server_port}/base/",
        model="sum",
        version="7",
        scores=[{"name": "s"}],
        retry_after_s=0,
    )
    assert score_batch(engine, np.abs(ROWS)).tolist() == [[6.5], [1.0]]
    with pytest.raises(EngineFailed, match=r"HTTP 400: .*negative"):
        score_row(engine, [-1, 0, 0])
    with pytest.raises(EngineFailed, match="not of the protocol"):
        score_row(engine, [101, 0, 0])
    with pytest.raises(RemoteUnavailable, match="HTTP 503"):
        score_row(engine, [51, 0, 0])
    server.shutdown()
    server.server_close()
    with pytest.raises(RemoteUnavailable, match="cannot be reached"):
        score_row(engine, [1, 2, 3])
    engine.close()


@pytest.mark.req("B-311", "B-312")
def test_the_file_is_read_again_when_it_changes_and_a_wrong_one_changes_nothing(tmp_path):
    container = RemoteEngines(tmp_path / "remote.yaml")
    registry = EngineRegistry(engines=(), containers=(), more=(container,))
    assert list(registry.list()) == []
    written(tmp_path)
    (first,) = registry.list()
    assert json.loads(first.metainfo)["feature_units"] == ["%", "", ""]
    assert list(registry.list()) == [first]
    (tmp_path / "remote.yaml").write_text("engines: [")
    assert list(registry.list()) == [first]
    written(tmp_path, name="there_v2")
    assert [engine.name for engine in registry.list()] == ["there_v2"]
    (tmp_path / "remote.yaml").unlink()
    assert list(registry.list()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"url": "ftp://x"}, "url must be grpc://"),
        ({"url": "grpc://host"}, "needs a port"),
        ({"url": "grpc://host:port"}, "Port could not be cast"),
        ({"timeout_s": 0}, "engines/0/timeout_s"),
        ({"unknown": 1}, "unknown"),
        ({"features": []}, "engines/0/features"),
        ({"name": ""}, "engines/0/name"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path, changes, told):
    with pytest.raises(RemoteFileRefused, match=told):
        read(written(tmp_path, **changes))


async def test_a_missing_token_file_is_told_without_its_content(tmp_path):
    with served(Model()) as url:
        engine = remote(tmp_path, url=url, token_file=str(tmp_path / "none"))
        with pytest.raises(TrimtabError, match="token file of remote engine there"):
            await asyncio.to_thread(score_row, engine, [1, 2, 3])
        engine.close()
