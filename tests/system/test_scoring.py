"""Scoring through the public port, with Keystone: clients, engines that come and go, remote ones.

A system of its own: what is installed beside it changes while it runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace

import documented_engines as documented
import grpc
import httpx
import numpy as np
import pytest

from inference import grpc_service_pb2 as oip
from inference import grpc_service_pb2_grpc as oip_grpc
from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
SAMPLES = ["dummy_avg_scorer", "dummy_max_scorer", "dummy_min_scorer", "dummy_scorer"]
CONFIG = """\
[scoring]
remote_engines_file = {folder}/remote.yaml
reload_interval_s = 0.3
[watcher_decision_engine]
scoring_sync_interval_s = 0.3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where models lie and packages are installed, beside the running system."""
    folder = Path(tmp_path_factory.mktemp("models"))
    site = folder / "site"
    site.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_FOLDER", str(folder))
        patch.setenv("PYTHONPATH", str(site))
        yield SimpleNamespace(folder=folder, site=site)


@pytest.fixture(scope="module")
def guarded(place, tmp_path_factory):
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("scoring")),
        ports=ports.free_row(),
        auth="keystone",
        ready_timeout_s=120,
        fakecloud_args=("--hosts", "2", "--servers", "2"),
        extra_config=CONFIG.format(folder=place.folder),
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture(scope="module")
def token(guarded):
    user = {"name": "admin", "password": "secret", "domain": {"id": "default"}}
    answer = httpx.post(
        f"{guarded.fakecloud_url}/identity/v3/auth/tokens",
        json={
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
            }
        },
        timeout=20,
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["x-subject-token"]


@pytest.fixture(scope="module")
def rest(guarded, token):
    headers = {"x-auth-token": token}
    with httpx.Client(base_url=guarded.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def edge(guarded):
    with grpc.insecure_channel(f"127.0.0.1:{guarded.ports.gateway}") as channel:
        yield channel


def eventually(look, limit_s=15.0):
    until = time.monotonic() + limit_s
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def listed(rest):
    return [one["name"] for one in rest.get("/v1/scoring_engines").json()["scoring_engines"]]


def audited(rest, **body):
    created = rest.post("/v1/audits", json={"audit_type": "ONESHOT", **body})
    assert created.status_code == 201, created.text
    path = f"/v1/audits/{created.json()['uuid']}"
    return eventually(
        lambda: (audit := rest.get(path).json())["state"] in ENDED and audit, limit_s=60
    )


def run_triton(guarded, token, *arguments):
    dialogue = Path(__file__).parents[1] / "unit" / "scoring" / "triton_dialogue.py"
    address = f"127.0.0.1:{guarded.ports.gateway}"
    return subprocess.run(
        [sys.executable, dialogue, address, token, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.req("B-310")
def test_a_triton_client_with_a_token_lists_describes_and_infers_at_the_edge(guarded, token):
    done = run_triton(guarded, token)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["index"] == SAMPLES
    assert seen["inputs"][0]["shape"] == ["-1", "9"]
    assert seen["FP32"] == [[1, 0, 100, 0, 0], [0, 100, 0, 0, 0]]


@pytest.mark.req("B-310")
def test_a_triton_client_without_a_token_is_told_so(guarded):
    done = run_triton(guarded, "")
    assert done.returncode != 0
    assert "StatusCode.UNAUTHENTICATED" in done.stderr


def test_a_client_of_kserves_kind_infers_by_typed_contents_with_a_token_only(edge, token):
    stub = oip_grpc.GRPCInferenceServiceStub(edge)
    tensor = oip.ModelInferRequest.InferInputTensor(
        name="features",
        datatype="FP32",
        shape=[1, 9],
        contents=oip.InferTensorContents(fp32_contents=[90, 0, 0, 0, 0, 0, 0, 0, 0]),
    )
    request = oip.ModelInferRequest(model_name="dummy_scorer", inputs=[tensor])
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    answer = stub.ModelInfer(request, timeout=10, metadata=(("x-auth-token", token),))
    assert list(answer.outputs[0].contents.fp64_contents) == [1, 0, 100, 0, 0]


KSERVE = os.environ.get("TRIMTAB_TEST_KSERVE", "")


@pytest.mark.skipif(not KSERVE, reason="needs KServe's environment: make test-kserve")
def test_kserves_own_client_infers_at_the_edge_with_a_token_only(guarded, token):
    dialogue = Path(__file__).with_name("kserve_dialogue.py")
    for held, code in ((token, 0), ("", 1)):
        command = [KSERVE, dialogue, "client", f"127.0.0.1:{guarded.ports.gateway}", held]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode == code, done.stderr
        if held:
            seen = json.loads(done.stdout)
            scores = [1, 0, 100, 0, 0]
            assert seen == {"live": True, "ready": True, "typed": scores, "raw": scores}
        else:
            assert "UNAUTHENTICATED" in done.stderr


@pytest.mark.skipif(not KSERVE, reason="needs KServe's environment: make test-kserve")
@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_kserves_own_model_server_is_asked_as_a_remote_engine(place, edge, token, scheme):
    free = ports.free_row()
    at = {"http": free.api_http, "grpc": free.gateway}
    dialogue = Path(__file__).with_name("kserve_dialogue.py")
    command = [KSERVE, dialogue, "server", str(at["http"]), str(at["grpc"])]
    engine = {
        "name": f"sums_by_{scheme}",
        "model": "sums",
        "url": f"{scheme}://127.0.0.1:{at[scheme]}",
        "features": [{"name": "a"}, {"name": "b"}],
        "scores": [{"name": "total"}],
        "retry_after_s": 0,
    }
    file = place.folder / "remote.yaml"
    file.write_text(json.dumps({"engines": [engine]}), encoding="utf-8")
    request = oip.ModelInferRequest(
        model_name=engine["name"], raw_input_contents=[np.array([1, 2, 3, 4.5]).tobytes()]
    )
    request.inputs.add(name="features", datatype="FP64", shape=[2, 2])
    stub = oip_grpc.GRPCInferenceServiceStub(edge)

    def scored():
        try:
            answer = stub.ModelInfer(request, timeout=20, metadata=(("x-auth-token", token),))
        except grpc.RpcError:
            return None
        return np.frombuffer(answer.raw_output_contents[0]).tolist()

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert eventually(scored, limit_s=90) == [3.0, 7.5]
        finally:
            server.kill()
            file.unlink()


@pytest.mark.req("B-313")
def test_engines_are_listed_by_rest_with_their_metainfo(rest):
    assert eventually(lambda: listed(rest) == SAMPLES)
    detail = rest.get("/v1/scoring_engines/detail").json()["scoring_engines"]
    assert [one["name"] for one in detail] == SAMPLES
    one = rest.get("/v1/scoring_engines/dummy_scorer").json()
    assert one == rest.get(f"/v1/scoring_engines/{one['uuid']}").json()
    assert one["description"] == "Dummy workload classifier"
    assert json.loads(one["metainfo"])["feature_units"][0] == "%"
    for method, path in (("POST", ""), ("PATCH", "/dummy_scorer"), ("DELETE", "/dummy_scorer")):
        assert rest.request(method, f"/v1/scoring_engines{path}", json={}).status_code in (404, 405)


@pytest.mark.req("B-312", "B-316")
def test_an_audit_of_dummy_with_scorer_asks_the_engines_and_its_plan_runs(rest):
    audit = audited(rest, goal="dummy", strategy="dummy_with_scorer")
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    plans = rest.get(f"/v1/action_plans?audit_uuid={audit['uuid']}").json()["action_plans"]
    (plan,) = plans
    actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}").json()["actions"]
    told = [a["input_parameters"].get("message", "") for a in actions]
    assert any(text.startswith("Detected Workload: ") for text in told)
    assert any(text.startswith("AVG Scorer result: ") for text in told)
    assert rest.post(f"/v1/action_plans/{plan['uuid']}/start").status_code == 200
    path = f"/v1/action_plans/{plan['uuid']}"
    assert eventually(lambda: rest.get(path).json()["state"] == "SUCCEEDED", limit_s=60)


@pytest.mark.req("B-311")
def test_a_documented_onnx_engine_comes_and_goes_while_everything_runs(
    place, guarded, rest, edge, token
):
    documented.train(place.folder)
    installed = documented.install(place.site)
    assert eventually(lambda: "noisy_v1" in listed(rest)), listed(rest)
    with np.load(place.folder / "expected.npz") as expected:
        rows, probabilities = expected["rows"].astype("<f4"), expected["probabilities"]
    stub = oip_grpc.GRPCInferenceServiceStub(edge)
    request = oip.ModelInferRequest(model_name="noisy_v1", raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    metadata = (("x-auth-token", token),)
    answer = stub.ModelInfer(request, timeout=20, metadata=metadata)
    scores = np.frombuffer(answer.raw_output_contents[0], "<f8").reshape(len(rows), 3)
    assert np.allclose(scores[:, 1:], probabilities, atol=1e-5)
    assert (scores[:, 0] == (scores[:, 2] > 0.5)).all()

    asking = place.folder / "ask.py"
    asking.write_text(documented.blocks()["ask.py"], encoding="utf-8")
    command = [sys.executable, asking, f"127.0.0.1:{guarded.ports.gateway}", token]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert [round(row[0]) for row in json.loads(said.stdout)] == [1, 0]

    model = place.folder / "noisy_v1.onnx"
    model.rename(place.folder / "noisy_v2.onnx")  # a new version is a new name
    assert eventually(lambda: listed(rest) == [*SAMPLES, "noisy_v2"]), listed(rest)
    documented.remove(installed)
    assert eventually(lambda: listed(rest) == SAMPLES), listed(rest)
    with pytest.raises(grpc.RpcError) as gone:
        stub.ModelInfer(request, timeout=20, metadata=metadata)
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


class SlowModel(oip_grpc.GRPCInferenceServiceServicer):
    """A server of the protocol that never answers in time."""

    def ModelMetadata(self, request, context):  # noqa: ARG002, N802, its interface
        time.sleep(3)
        return oip.ModelMetadataResponse()


REMOTE = """\
engines:
  - name: dummy_scorer_there
    url: grpc://127.0.0.1:{port}
    features: [{{name: a}}, {{name: b}}]
    scores: [{{name: c}}]
    timeout_s: 0.5
    retry_after_s: 60
"""


@pytest.mark.req("B-312")
def test_a_slow_remote_engine_is_told_clearly_and_audits_do_not_notice(place, rest, edge, token):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    oip_grpc.add_GRPCInferenceServiceServicer_to_server(SlowModel(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        file = place.folder / "remote.yaml"
        file.write_text(REMOTE.format(port=port), encoding="utf-8")
        assert eventually(lambda: "dummy_scorer_there" in listed(rest))
        stub = oip_grpc.GRPCInferenceServiceStub(edge)
        request = oip.ModelInferRequest(
            model_name="dummy_scorer_there", raw_input_contents=[np.zeros(2).tobytes()]
        )
        request.inputs.add(name="features", datatype="FP64", shape=[2])
        took = []
        for code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
            began = time.monotonic()
            with pytest.raises(grpc.RpcError, match="dummy_scorer_there") as refused:
                stub.ModelInfer(request, timeout=20, metadata=(("x-auth-token", token),))
            assert refused.value.code() is code
            took.append(time.monotonic() - began)
        assert took[1] < 0.4
        audit = audited(rest, goal="dummy", strategy="dummy_with_scorer")
        assert audit["state"] == "SUCCEEDED", audit["status_message"]
        file.unlink()
        assert eventually(lambda: listed(rest) == SAMPLES)
    finally:
        server.stop(None)


@pytest.mark.req("B-312")
def test_without_the_scoring_service_only_strategies_that_ask_fail_and_say_why(guarded, rest):
    child = guarded.child("scoring")
    os.kill(child.pid, 19)  # SIGSTOP: it neither answers nor closes connections
    try:
        began = time.monotonic()
        audit = audited(rest, goal="dummy", strategy="dummy")
        assert audit["state"] == "SUCCEEDED", audit["status_message"]
        assert time.monotonic() - began < 20
        assert listed(rest) == SAMPLES
    finally:
        os.kill(child.pid, 18)
