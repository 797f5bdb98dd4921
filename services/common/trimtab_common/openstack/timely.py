"""Requests that are sent in time or not at all.

A process can be stopped (SIGSTOP, a frozen machine) at any instruction. What it was about to ask of
the cloud then may have been asked by somebody else meanwhile; so a thread that wakes looks at the
time once more in the last instruction before the bytes leave. What is left is one system call.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trimtab_common.domain.errors import DeadlineExceeded

if TYPE_CHECKING:
    import socket

    import requests

_OF_THREAD = threading.local()


@contextmanager
def not_after(moment: float, what: str) -> Iterator[None]:
    """In this thread nothing is sent past `moment` (s, time.monotonic); DeadlineExceeded instead."""
    _OF_THREAD.end = (moment, what)
    try:
        check()
        yield
    finally:
        del _OF_THREAD.end


def check() -> None:
    """DeadlineExceeded when this thread's time is over."""
    end: tuple[float, str] | None = getattr(_OF_THREAD, "end", None)
    if end is not None and time.monotonic() > end[0]:
        raise DeadlineExceeded(f"{end[1]}: not sent, its time is over.")


def send_now(sock: socket.socket, data: Any) -> Any:
    """Sends what the system takes at once; the rest, and what is not bytes, is the caller's.

    A socket with a time limit polls before it sends, and a thread that polls gives the interpreter
    to others: the process could stop between the look at the time and the bytes. Without a limit
    there is no such place.
    """
    check()
    if not isinstance(data, bytes):
        return data
    limit_s = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        check()
        sent = sock.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
        sent = 0
    finally:
        sock.settimeout(limit_s)
    if sent < len(data):
        check()
    return data[sent:]


def make_timely(session: requests.Session) -> None:
    """From now on this session's connections look at the time before they send."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415, costs 0.1 s
    from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: PLC0415, as above

    class TimelyConnection(HTTPConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            super().send(send_now(self.sock, data))

    class TimelyTlsConnection(HTTPSConnection):
        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()
            super().send(send_now(self.sock, data))

    class TimelyPool(HTTPConnectionPool):
        ConnectionCls = TimelyConnection

    class TimelyTlsPool(HTTPSConnectionPool):
        ConnectionCls = TimelyTlsConnection

    for adapter in session.adapters.values():
        manager = getattr(adapter, "poolmanager", None)
        if manager is not None:
            manager.pool_classes_by_scheme = {"http": TimelyPool, "https": TimelyTlsPool}
