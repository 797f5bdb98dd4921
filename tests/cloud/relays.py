"""A relay before a service of the cloud: passes bytes on, until a test cuts it or has it say 503."""

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
        self._refuses = False
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
    def saying_503(self) -> Iterator[None]:
        """Every request is answered 503 while this lasts."""
        self._refuses = True
        self._break()
        try:
            yield
        finally:
            self._refuses = False

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
            if self._refuses:
                _refuse(client)
                return
            with socket.create_connection(("127.0.0.1", self._target), 10) as service:
                service.settimeout(None)
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


def _refuse(client: socket.socket) -> None:
    client.settimeout(5)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(65536)
        if not piece:
            return
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head + b"\r\n")
    left = (int(length[1]) if length else 0) - len(body)
    while left > 0 and (piece := client.recv(left)):
        left -= len(piece)
    client.sendall(_REFUSAL)
