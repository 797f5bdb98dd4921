"""A relay before a service of the cloud: passes bytes on, until a test cuts it or has it say 503.

The cloud's services answer one request on each connection, so that a relay need not look for more.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_TOKEN = re.compile(rb"^x-auth-token: *(\S+)\r$", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: *(\d+)\r$", re.IGNORECASE | re.MULTILINE)
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 16\r\nConnection: close\r\n\r\nout of capacity\n"
)


class Relay:
    """Listens on a port of its own for one that listens on `target`.

    tokens: the Keystone tokens that passed, in the order in which each was first seen.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._refuses: re.Pattern[bytes] | None = None
        self.refused = 0
        self.tokens: list[str] = []
        self.port = 0
        self._listen()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Connections break and new ones are refused while this lasts."""
        self._stop_listening()
        self._break()
        try:
            yield
        finally:
            self._listen()

    @contextmanager
    def saying_503(self, to: str = "") -> Iterator[None]:
        """Every request is answered 503 while this lasts; `to`: only those whose first line, as
        "GET /path HTTP/1.1", has this pattern.
        """
        self._refuses = re.compile(to.encode())
        self._break()
        try:
            yield
        finally:
            self._refuses = None

    def close(self) -> None:
        """Ends it."""
        self._stop_listening()
        self._break()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()

    def _break(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            if (refuses := self._refuses) is not None:
                head = _head(client)
                if refuses.search(head.partition(b"\r\n")[0]):
                    self.refused += 1
                    _refuse(client, head)
                    return
            with socket.create_connection(("127.0.0.1", self._target), 10) as service:
                service.settimeout(None)
                self._look(head)
                service.sendall(head)
                with self._lock:
                    self._open |= {client, service}
                try:
                    back = threading.Thread(target=_pump, args=[service, client], daemon=True)
                    back.start()
                    _pump(client, service, self._look)
                    back.join()
                finally:
                    with self._lock:
                        self._open -= {client, service}

    def _look(self, data: bytes) -> None:
        for found in _TOKEN.findall(data):
            token = found.decode()
            with self._lock:
                if token not in self.tokens:
                    self.tokens.append(token)


def _pump(
    source: socket.socket, sink: socket.socket, look: Callable[[bytes], None] | None = None
) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if look is not None:
                look(data)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _head(client: socket.socket) -> bytes:
    """What a client says first, at least to the end of its request's head."""
    client.settimeout(5)
    data = b""
    while b"\r\n\r\n" not in data and (piece := client.recv(4096)):
        data += piece
    client.settimeout(None)
    return data


def _refuse(client: socket.socket, begun: bytes) -> None:
    client.settimeout(5)
    head, _, body = begun.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0 and (piece := client.recv(left)):
        left -= len(piece)
    client.sendall(_REFUSAL)
