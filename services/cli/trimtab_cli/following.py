"""Streams that outlive their connections and tokens: what every `watch` command reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
import grpc

from trimtab_cli.grpc_client import MAX_MESSAGE_BYTES, explain

RECONNECT_S = (0.5, 1.0, 2.0, 5.0)
STREAM_LIMIT_S = 3700.0
"""A stream ends by itself after an hour; this only ends one that hangs."""
_TRANSIENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
_RESUMED = {*_TRANSIENT, grpc.StatusCode.RESOURCE_EXHAUSTED}

Open = Callable[[grpc.Channel, str, dict[str, Any]], Iterable[Any]]
"""Opens a stream on a channel from a resume token on; the last are the arguments of every call."""


def messages(obj: Any, open_stream: Open) -> Iterator[Any]:
    """Every message of a stream, opened again by its last token when it ends or breaks.

    A token of Keystone that ends meanwhile is renewed once for each good message.
    click.ClickException when the service stays away, or refuses.
    """
    place, failures, renewed = "", 0, False
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
                    failures, renewed = 0, False
                    place = message.resume_token or place
                    yield message
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.UNAUTHENTICATED and not renewed and obj.renew():
                renewed = True
                continue
            if code not in _RESUMED or failures >= len(RECONNECT_S):
                raise click.ClickException(explain(error, obj.address)) from error
            time.sleep(RECONNECT_S[failures])
            failures += 1


def shown(message: Any, name: str) -> Any | None:
    """The resource that a message of a Watch stream shows, if it shows one; `name`: its field."""
    kind = message.WhichOneof("event")
    if kind == "change":
        return getattr(message.change, name)
    return getattr(message, name) if kind == name else None
