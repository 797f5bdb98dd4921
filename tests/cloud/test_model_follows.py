"""The live model follows what is done to the cloud behind Trimtab's back."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import threading
import time

import openstack
import pytest
from random_operations import RandomOperations
from real_cloud import OURS, eventually

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import grpc_client
from trimtab_collector.compute.reading import ComputeReader
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.wire import saved_model

SEEN_WITHIN_S = 3.0
"""By polls of two seconds; with notifications it is to be 1 s."""


@pytest.fixture
def watched(trimtab):
    """Lines of `trimtab model watch` as (when it came, what it says), in a queue."""
    lines: queue.Queue[tuple[float, dict]] = queue.Queue()
    command = trimtab("model", "watch", "-o", "json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:

        def read():
            for line in watcher.stdout:
                lines.put((time.monotonic(), json.loads(line)))

        reader = threading.Thread(target=read)
        reader.start()
        assert "begin" in lines.get(timeout=20)[1]
        yield lines
        watcher.terminate()
        reader.join(10)


def server_rows(message):
    for delta in message.get("deltas", {}).get("deltas", []):
        for change in delta.get("changes", []):
            if "upsert_server" in change:
                yield change["upsert_server"]


@pytest.mark.req("C-117")
def test_a_live_migration_behind_our_back_is_streamed_soon(cloud, watched):
    cloud.enable_all()
    server = cloud.active(cloud.create(f"{OURS}watched"))
    cloud.live_migrate(server.uuid)
    arrived = eventually(
        lambda: (s := cloud.server(server.uuid)).host != server.host and s,
        "the server moves",
        every_s=0.05,
    )
    shown_at = time.monotonic()
    while True:
        seen_at, message = watched.get(timeout=30)
        if any(
            row["uuid"] == server.uuid and row.get("hostname") == arrived.host
            for row in server_rows(message)
        ):
            break
    cloud.delete(server.uuid)
    assert seen_at - shown_at < SEEN_WITHIN_S


@pytest.fixture
def differences(system, clouds_yaml, token):
    """What would have to change in the system's model to make it equal to a fresh full read."""
    del clouds_yaml

    def live():
        address = f"127.0.0.1:{system.ports.gateway}"
        with grpc_client.channel(address, token) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            return saved_model.model_of(stub.GetModel(model_pb2.GetModelRequest(), timeout=30))

    async def fresh(model):
        session = CloudSession(lambda: openstack.connect(cloud="watcher"))
        try:
            return await ComputeReader(Nova(session), Placement(session)).read_all(model)
        finally:
            await session.close()

    def compare():
        model = live()
        read = asyncio.run(fresh(model))
        return model.changes_to(read.hosts, read.servers, read.aggregates, read.health)

    return compare


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_after_random_operations_the_model_equals_a_fresh_read(cloud, differences, request, count):
    cloud.enable_all()
    operations = RandomOperations(cloud, seed=count)
    try:
        operations.run(count, limit_s=4.0 * count)
        cloud.settle()
        found: list[object] = []

        def equal():
            found[:] = differences()
            return not found

        try:
            eventually(equal, "the model equals the cloud", 10)
        except AssertionError as error:
            raise AssertionError(f"{found} after {operations.done}") from error
        operations.confirm_all()
        cloud.await_agreement()
    finally:
        cloud.enable_all()
        operations.clean()
    request.node.user_properties += [
        ("operations", str(dict(operations.done))),
        ("refused", str(dict(operations.refused))),
    ]
