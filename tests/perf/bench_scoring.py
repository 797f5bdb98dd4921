"""Inferences through the public port with a Keystone token: a second, and in CPU of everything behind it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
from bench_model import Figure
from processes_watch import cpu_s, family

from inference import grpc_service_pb2 as oip
from inference import grpc_service_pb2_grpc as oip_grpc
from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

ROWS, CLIENTS = 500, 4
_PARTS = ("scoring", "envoy", "api")


def scoring_figures(limits: dict) -> Iterator[Figure]:
    """Batches of 500 rows of dummy_scorer, then single rows, from four clients."""
    with tempfile.TemporaryDirectory() as folder:
        spec = SystemSpec(
            state_dir=Path(folder),
            ports=ports.free_row(),
            auth="keystone",
            ready_timeout_s=300.0,
            fakecloud_args=("--hosts", "2", "--servers", "2"),
        )
        with running(spec, say=lambda _line: None) as system:
            metadata = (("x-auth-token", _token(system.fakecloud_url)),)
            address = f"127.0.0.1:{system.ports.gateway}"
            pids = [pid for name in _PARTS for pid in _pids(system, name)]
            for kind, n_rows in (("batched", ROWS), ("single", 1)):
                _ask(address, metadata, n_rows, 1.0)  # warm
                before = sum(map(cpu_s, pids))
                n_calls, wall_s = _ask(address, metadata, n_rows, limits["seconds"])
                used_s = sum(map(cpu_s, pids)) - before
                n_scored = n_calls * n_rows
                void = "" if n_scored >= limits["min_inferences"] or n_rows == 1 else "too few"
                load = f"{n_scored:,} in {wall_s:.1f} s, {CLIENTS} clients, {n_rows} a request"
                yield Figure(f"scoring_{kind}_per_s", n_scored / wall_s, load, void)
                yield Figure(f"scoring_{kind}_cpu", used_s / n_scored * 1e6, load, void)


def _pids(system, name: str) -> list[int]:
    return family(system.child(name).pid)


def _token(cloud: str) -> str:
    user = {"name": "admin", "password": "secret", "domain": {"id": "default"}}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    answer = httpx.post(
        f"{cloud}/identity/v3/auth/tokens",
        json={"auth": {"identity": identity, "scope": scope}},
        timeout=30,
    )
    answer.raise_for_status()
    return answer.headers["x-subject-token"]


def _ask(address: str, metadata, n_rows: int, seconds: float) -> tuple[int, float]:
    """(calls answered by all clients, seconds)."""
    rows = np.random.default_rng(1).uniform(0, 100, (n_rows, 9)).astype("<f4")
    request = oip.ModelInferRequest(model_name="dummy_scorer", raw_input_contents=[rows.tobytes()])
    request.inputs.add(name="features", datatype="FP32", shape=rows.shape)
    counts: list[int] = []

    def one() -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(address, options=options) as channel:
            stub = oip_grpc.GRPCInferenceServiceStub(channel)
            n_calls = 0
            while time.monotonic() < until:
                answer = stub.ModelInfer(request, timeout=30, metadata=metadata)
                assert list(answer.outputs[0].shape) == [n_rows, 5]
                n_calls += 1
            counts.append(n_calls)

    began = time.monotonic()
    until = began + seconds
    clients = [threading.Thread(target=one) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(counts), time.monotonic() - began
