"""Two collectors of one cloud; the first is killed, and whoever read it goes on with the second."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.processes import Child
from trimtab_cli.rest import RestClient
from trimtab_cli.system import running
from trimtab_common.runtime.channels import open_channel
from trimtab_common.wire.replica import ModelReplica

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}
SECOND = 12
"""Where in a row of ports nothing else listens."""
WITHIN_S = 60.0
RUNS = 20


@pytest.fixture
def system(tmp_path):
    row = ports.free_row()
    spec = SystemSpec(
        state_dir=tmp_path,
        ports=row,
        fakecloud_args=("--hosts", "4", "--servers", "12", "--seed", "3"),
        extra_config="[collector]\npoll_interval = 0.2\n",
        other_collectors=(f"127.0.0.1:{row.base + SECOND}",),
        ready_timeout_s=180.0,
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture
def second(system):
    """One more collector, of the same configuration but for its address."""
    folder, (address,) = system.spec.state_dir, system.spec.other_collectors
    own = folder / "second.conf"
    own.write_text(f"[trimtab]\ncollector = {address}\n")
    command = (
        str(Path(sys.executable).parent / "trimtab-collector"),
        f"--config-file={folder / 'trimtab.conf'}",
        f"--config-file={own}",
    )
    environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml")}
    child = system.supervisor.add(
        Child("collector-2", command, folder / "logs" / "collector-2.log", environment)
    )
    yield address
    child.check()


class Cloud:
    """The fake cloud, changed behind everybody's back."""

    def __init__(self, system):
        self._url = f"{system.fakecloud_url}/control"
        self._client = httpx.AsyncClient()

    async def add_server(self, host):
        answer = await self._client.post(f"{self._url}/servers", json={"name": "n", "host": host})
        return answer.raise_for_status().json()["uuid"]

    async def remove_server(self, uuid):
        (await self._client.delete(f"{self._url}/servers/{uuid}")).raise_for_status()

    async def close(self):
        await self._client.aclose()

    async def places(self):
        """Where each server is."""
        state = (await self._client.get(f"{self._url}/state")).json()
        return {server["uuid"]: server["host"] for server in state["servers"]}


class Journal:
    """What a replica was told: the head of each snapshot, and the revisions of each epoch."""

    def __init__(self):
        self.snapshots = []
        self.revisions = defaultdict(list)

    def on_snapshot(self, head):
        self.snapshots.append(head)
        self.revisions[head.position.epoch].append(int(head.position.revision))

    def on_delta(self, delta):
        self.revisions[delta.position.epoch].append(int(delta.position.revision))

    def gaps(self):
        return [
            (before, after)
            for told in self.revisions.values()
            for before, after in itertools.pairwise(told)
            if after != before + 1
        ]


@asynccontextmanager
async def following(addresses, journal):
    """A replica as decision's main makes it."""
    channels = [open_channel(address) for address in addresses]
    replica = ModelReplica(
        channels[0],
        others=channels[1:],
        heartbeat_s=1,
        on_delta=journal.on_delta,
        on_snapshot=journal.on_snapshot,
    )
    task = asyncio.create_task(replica.run())
    try:
        yield replica
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for channel in channels:
            await channel.close()


async def model_at(address):
    """Epoch and digest of a collector's model, once it has one."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        request = model_pb2.GetModelRequest()
        async for part in stub.GetModel(request, timeout=10, wait_for_ready=True):
            if part.HasField("end"):
                return part.end.position.epoch, part.end.digest
    raise AssertionError("a model without an end")


async def eventually(what):
    """The first answer of `what` that is something; a call that fails is tried again."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                if answer := await what():
                    return answer
            except (grpc.aio.AioRpcError, AssertionError):
                pass
            await asyncio.sleep(0.1)


def migrated_by_a_plan(rest, node):
    """The servers that a plan takes off a host."""
    audit = rest.post(
        "/v1/audits",
        {
            "audit_type": "ONESHOT",
            "goal": "cluster_maintaining",
            "strategy": "host_maintenance",
            "parameters": {"maintenance_node": node},
        },
    )
    ended = rest.wait(f"/v1/audits/{audit['uuid']}", lambda a: a["state"] in ENDED, timeout_s=60)
    assert ended["state"] == "SUCCEEDED", ended["status_message"]
    (plan,) = rest.get(f"/v1/action_plans?audit_uuid={audit['uuid']}")["action_plans"]
    actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]
    return {
        action["input_parameters"]["resource_id"]
        for action in actions
        if action["action_type"] == "migrate"
    }


@pytest.fixture
async def busy_cloud(system):
    """A cloud in which servers come and go all the time; `stop` ends that."""
    cloud, stopping = Cloud(system), asyncio.Event()

    async def churn():
        made = []
        while not stopping.is_set():
            made.append(await cloud.add_server(None))
            if len(made) > 3:
                await cloud.remove_server(made.pop(0))
            await asyncio.sleep(0.05)

    task = asyncio.create_task(churn())

    async def stop():
        stopping.set()
        await task

    cloud.stop = stop
    yield cloud
    await stop()
    await cloud.close()


@pytest.mark.timeout(300)
@pytest.mark.req("C-119")
async def test_all_go_on_from_the_second_collector_when_the_first_is_killed(
    system, second, busy_cloud
):
    addresses = (system.ports.address("collector"), second)
    (first_epoch, _), (second_epoch, _) = [
        await eventually(lambda at=at: model_at(at)) for at in addresses
    ]
    assert first_epoch != second_epoch
    journal = Journal()
    async with following(addresses, journal) as replica:
        await replica.wait_ready(WITHIN_S)
        assert replica.epoch == first_epoch
        here = replica.revision
        await replica.wait_until(lambda model: model.revision > here + 5, WITHIN_S)

        os.kill(system.child("collector").pid, signal.SIGKILL)
        await replica.wait_until(lambda model: model.epoch == second_epoch, WITHIN_S)
        here = replica.revision
        await replica.wait_until(lambda model: model.revision > here + 5, WITHIN_S)
        await busy_cloud.stop()
        added = await busy_cloud.add_server("compute-2")
        await replica.wait_until(
            lambda model: (found := model.find_server(added)) is not None and not found.in_flux,
            WITHIN_S,
        )

        assert journal.gaps() == []
        assert [head.position.epoch for head in journal.snapshots] == [first_epoch, second_epoch]
        assert journal.snapshots[1].reason == "epoch_changed"
        assert all(len(told) > 5 for told in journal.revisions.values())
        places = await busy_cloud.places()
        assert {s.uuid: s.hostname for s in replica.model.servers()} == places
        assert (replica.epoch, replica.model.digest()) == await model_at(second)

    rest = RestClient(system.url)
    try:
        moved = await asyncio.to_thread(decision_sees, rest, added)
        assert moved == {uuid for uuid, host in places.items() if host == "compute-2"}
        shown = await asyncio.to_thread(rest.get, "/v1/data_model")
        assert {row["server_uuid"] for row in shown["context"]} >= set(places)
        edge = f"127.0.0.1:{system.ports.gateway}"
        assert (await eventually(lambda: model_at(edge)))[0] == second_epoch
    finally:
        rest.close()


def decision_sees(rest, added):
    """What a plan takes off a host, once decision's own replica shows the last change there."""
    for _ in range(RUNS):
        moved = migrated_by_a_plan(rest, "compute-2")
        if added in moved:
            return moved
    raise AssertionError(f"decision does not know {added} after {RUNS} audits")
