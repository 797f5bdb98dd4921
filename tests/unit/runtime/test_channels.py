"""A channel to several addresses: the first that answers is used, and the next when it is gone."""

from __future__ import annotations

import grpc
import pytest

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import CommonSettings, load


class Named(model_pb2_grpc.ModelServiceServicer):
    def __init__(self, name):
        self.name = name

    async def ListModels(self, _request, _context):  # noqa: N802, gRPC's name
        return model_pb2.ListModelsResponse(models=[model_pb2.ModelInfo(kind=self.name)])


async def serving(name):
    server = grpc.aio.server()
    model_pb2_grpc.add_ModelServiceServicer_to_server(Named(name), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


async def who_answers(channel):
    request = model_pb2.ListModelsRequest()
    stub = model_pb2_grpc.ModelServiceStub(channel)
    answer = await stub.ListModels(request, timeout=20, wait_for_ready=True)
    return answer.models[0].kind


@pytest.mark.req("C-119")
async def test_the_next_address_is_asked_when_the_first_is_gone():
    (first, at_first), (second, at_second) = await serving("first"), await serving("second")
    async with open_channel(at_first, at_second) as channel:
        assert await who_answers(channel) == "first"
        await first.stop(None)
        assert await who_answers(channel) == "second"
    await second.stop(None)


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1:9325", "collector-2:9325"),
        ("127.0.0.1:9325", "192.0.2.8"),
        ("127.0.0.1:9325", "192.0.2.8:door"),
        ("127.0.0.1:9325", "[::1]:9325"),
    ],
)
async def test_several_addresses_that_cannot_be_used_together_are_refused(addresses):
    with pytest.raises(InvalidArgument, match="IP"):
        open_channel(*addresses)


async def test_one_address_may_be_a_name_and_several_may_be_ipv6():
    await open_channel("collector-1:9325").close()
    await open_channel("[::1]:9325", "[::2]:9325").close()


@pytest.mark.req("C-119")
def test_the_other_collectors_come_from_the_file_each_once(tmp_path):
    file = tmp_path / "trimtab.conf"
    file.write_text(
        "[trimtab]\ncollector = 192.0.2.7:9325\nother_collectors = 192.0.2.8:9325, 192.0.2.7:9325\n"
    )
    common, _ = load([f"--config-file={file}"], prog="trimtab-test")
    assert common.collectors == ("192.0.2.7:9325", "192.0.2.8:9325")
    assert CommonSettings(host="h").collectors == ("127.0.0.1:9325",)
