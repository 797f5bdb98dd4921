"""What is sent too late is not sent: seen by a real server."""

from __future__ import annotations

import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from trimtab_common.domain.errors import DeadlineExceeded
from trimtab_common.openstack import timely


@pytest.fixture
def server():
    got: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None: ...

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", got
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def session():
    with requests.Session() as made:
        timely.make_timely(made)
        yield made


@pytest.mark.req("B-291")
def test_a_request_whose_time_passes_inside_of_the_http_library_never_reaches_the_server(
    server, session
):
    url, got = server
    with timely.not_after(time.monotonic() + 60, "compute POST /a"):
        assert session.post(f"{url}/a", json={}).status_code == 202

    def slept(request: requests.PreparedRequest) -> requests.PreparedRequest:
        time.sleep(0.2)  # as a process does that was stopped here
        return request

    with (
        pytest.raises(DeadlineExceeded, match="compute POST /b: not sent"),
        timely.not_after(time.monotonic() + 0.1, "compute POST /b"),
    ):
        session.post(f"{url}/b", json={}, auth=slept)
    assert session.post(f"{url}/c", json={}).status_code == 202
    assert got == ["/a", "/c"]


@pytest.mark.req("B-291")
def test_a_body_larger_than_the_sockets_buffer_arrives_whole(server, session):
    url, got = server
    with timely.not_after(time.monotonic() + 60, "compute POST /large"):
        answer = session.post(f"{url}/large", data=b"x" * 30_000_000, timeout=30)
    assert answer.status_code == 202
    assert got == ["/large"]


class Watched(socket.socket):
    """Takes three bytes at a time, and remembers whether it would have polled first."""

    polled: list[bool]

    def send(self, data: bytes, flags: int = 0) -> int:
        self.polled.append(self.gettimeout() != 0.0)
        return super().send(data[:3], flags)


@pytest.mark.req("B-291")
def test_no_wait_for_the_socket_lies_between_the_look_at_the_time_and_the_bytes():
    here, there = socket.socketpair()
    with here, there, Watched(fileno=os.dup(here.fileno())) as watched:
        watched.polled = []
        watched.settimeout(30.0)
        with timely.not_after(time.monotonic() + 60, "compute POST /a"):
            assert timely.send_now(watched, b"POST /a") == b"T /a"
        assert watched.polled == [False]
        assert watched.gettimeout() == 30.0
        assert there.recv(100) == b"POS"
