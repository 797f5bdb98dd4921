"""Children of a process that talks gRPC meanwhile, as `trimtab up` and the ordeals do."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from trimtab_cli.processes import Child

STARTS = 60


@pytest.fixture
def talk():
    """Calls that go on in other threads from here to the end."""
    server = grpc.server(ThreadPoolExecutor(4))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    stopping = threading.Event()

    def ask():
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            while not stopping.is_set():
                stub.Check(health_pb2.HealthCheckRequest(), timeout=10)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    stopping.set()
    for thread in threads:
        thread.join()
    server.stop(None).wait(5)


@pytest.mark.usefixtures("talk")
def test_none_dies_of_grpc_before_its_program_begins(tmp_path):
    command = [sys.executable, "-I", "-S", "-c", "print('began')"]
    for _ in range(STARTS):
        child = Child("child", command, tmp_path / "child.log", dict(os.environ))
        child.start()
        assert child.process.wait(30) == 0, child.tail()
        assert child.tail() == "began"
