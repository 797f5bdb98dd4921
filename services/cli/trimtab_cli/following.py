"""Streams that outlive their connections and tokens: what every `watch` command reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
import grpc

from trimtab_cli.grpc_client import MAX_MESSAGE_BYTES, explain

RECONNECT_S = (0.5, 1.0, 2.0, 5.0)
"""Between two tries; the last holds on."""
PATIENCE_S = 60.0
"""How long a service may be away: it is started again, or another one takes over."""
FIRST_PATIENCE_S = 8.0
"""Before the first message: rather a wrong address than a service that is on its way up."""
STREAM_LIMIT_S = 3700.0
"""A stream ends by itself after an hour; this only ends one that hangs."""
_TRANSIENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_RESUMED = {*_TRANSIENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
_COMING_BACK = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INTERNAL}
"""What a service says, or gRPC for it, that was killed and is not ready yet; no excuse for one that
nothing came from so far."""

Open = Callable[[grpc.Channel, str, dict[str, Any]], Iterable[Any]]
"""Opens a stream on a channel from a resume token on; the last are the arguments of every call."""


def messages(
    obj: Any,
    open_stream: Open,
    *,
    patience_s: float = PATIENCE_S,
    first_patience_s: float = FIRST_PATIENCE_S,
) -> Iterator[Any]:
    """Every message of a stream, opened again by its last token when it ends or breaks.

    While the service is away that is said on stderr. A token of Keystone that ends meanwhile is
    renewed once for each good message. click.ClickException when the service stays away for longer
    than `patience_s`, or than `first_patience_s` before the first message, or when it refuses.
    """
    place, renewed = "", False
    away = _Away()
    while True:
        try:
            options = [
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.enable_http_proxy", 0),
            ]
            with grpc.insecure_channel(obj.address, options=options) as channel:
                metadata = (("x-auth-token", obj.token),) if obj.token else ()
                call = {"timeout": STREAM_LIMIT_S, "metadata": metadata}
                for message in open_stream(channel, place, call):
                    away.over()
                    renewed = False
                    place = message.resume_token or place
                    yield message
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAUTHENTICATED and not renewed and obj.renew():
                renewed = True
                continue
            bears = _RESUMED | _COMING_BACK if place else _RESUMED
            limit_s = patience_s if place else first_patience_s
            problem = explain(error, obj.address)
            if code not in bears or not away.wait(problem, limit_s):
                raise click.ClickException(problem) from error


class _Away:
    """How long the service has been away, and what the operator is told of it."""

    def __init__(self) -> None:
        self._since = 0.0
        self._tries = 0

    def wait(self, problem: str, limit_s: float) -> bool:
        """Waits until the next try; False when there is to be none."""
        now = time.monotonic()
        if not self._tries:
            self._since = now
        left_s = self._since + limit_s - now
        if left_s <= 0:
            return False
        if self._tries == 1:  # one that is back at once is not worth a word
            click.echo(f"{problem} Trying again for {left_s:.0f} s.", err=True)
        time.sleep(min(left_s, RECONNECT_S[min(self._tries, len(RECONNECT_S) - 1)]))
        self._tries += 1
        return True

    def over(self) -> None:
        """It answers."""
        if self._tries > 1:
            click.echo(f"It answers again, after {time.monotonic() - self._since:.0f} s.", err=True)
        self._tries = 0


def shown(message: Any, name: str) -> Any | None:
    """The resource that a message of a Watch stream shows, if it shows one; `name`: its field."""
    kind = message.WhichOneof("event")
    if kind == "change":
        return getattr(message.change, name)
    return getattr(message, name) if kind == name else None
