"""A watch command whose service goes away: it goes on where it was, says so, and gives up in the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import click
import grpc
import pytest

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import following

COMING_BACK = [
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.FAILED_PRECONDITION,
]


class Service(model_pb2_grpc.ModelServiceServicer):
    """Call for call: whether it gives a message, and what it says then; at last a message only."""

    def __init__(self):
        self.places = []
        self.script = []

    def WatchModel(self, request, context):  # noqa: N802, gRPC's name
        self.places.append(request.resume_token)
        speaks, code = self.script.pop(0) if self.script else (True, None)
        if speaks:
            yield model_pb2.WatchModelResponse(resume_token=f"place-{len(self.places)}")
        if code is not None:
            context.abort(code, "Not now.")


class Target:
    token = None

    def __init__(self, address):
        self.address = address


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def server(service):
    server = grpc.server(ThreadPoolExecutor(4))
    model_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    server.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield server
    server.stop(None).wait(5)


def watched(server, **patience):
    def opened(channel, place, call):
        request = model_pb2.WatchModelRequest(resume_token=place)
        return iter(model_pb2_grpc.ModelServiceStub(channel).WatchModel(request, **call))

    return following.messages(Target(f"127.0.0.1:{server.port}"), opened, **patience)


@pytest.mark.parametrize("code", COMING_BACK)
def test_it_goes_on_with_its_last_token_whatever_a_service_says_that_comes_back(
    service, server, code
):
    service.script = [(True, code)]
    messages = watched(server)
    assert [next(messages).resume_token for _ in range(2)] == ["place-1", "place-2"]
    assert service.places == ["", "place-1"]


def test_a_service_that_is_away_for_long_is_told_of_and_given_up(server, capsys):
    messages = watched(server, patience_s=2.0)
    next(messages)
    server.stop(None).wait(5)
    with pytest.raises(click.ClickException, match="Trimtab does not answer at"):
        next(messages)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert "Is it up?" in said[0]
    assert "Trying again for 1 s" in said[0] or "Trying again for 2 s" in said[0]


def test_one_that_is_back_is_told_of_too(service, server, capsys, monkeypatch):
    monkeypatch.setattr(following, "RECONNECT_S", (0.01,))
    away = grpc.StatusCode.UNAVAILABLE
    service.script = [(True, away), (False, away), (False, away)]
    messages = watched(server)
    assert [next(messages).resume_token for _ in range(2)] == ["place-1", "place-4"]
    first, last = capsys.readouterr().err.splitlines()
    assert "Not now." in first
    assert "Trying again for 60 s." in first
    assert last == "It answers again, after 0 s."


def test_before_the_first_message_a_refusal_ends_it_at_once_and_silence_soon(service, server):
    service.script = [(False, grpc.StatusCode.FAILED_PRECONDITION)]
    with pytest.raises(click.ClickException, match="Not now"):
        next(watched(server))
    assert service.places == [""]
    server.stop(None).wait(5)
    with pytest.raises(click.ClickException, match="Is it up"):
        next(watched(server, first_patience_s=0.6))
