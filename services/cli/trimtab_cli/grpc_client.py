"""The synchronous gRPC client of the daily commands: one channel to the gateway, clear errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import grpc

TIMEOUT_S = 30.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@contextmanager
def channel(
    address: str, token: str | None, renew: Callable[[], str | None] | None = None
) -> Iterator[grpc.Channel]:
    """A channel to `address` that sends the token; RPC errors become one line for people.

    `renew` gives another token, once, for a unary call whose token was refused: commands that run
    for long outlive their first one.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.enable_http_proxy", 0),
    ]
    with grpc.insecure_channel(address, options=options) as plain:
        wrapped = grpc.intercept_channel(plain, _Token(token, renew)) if token else plain
        try:
            yield wrapped
        except grpc.RpcError as error:
            raise click.ClickException(explain(error, address)) from error


def explain(error: Any, address: str) -> str:
    """What went wrong and what to do, from an RPC error."""
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.UNAVAILABLE and not _is_own(error):
        return f"Trimtab does not answer at {address} ({details}). Is it up? Try `trimtab up`."
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"{details} Name a cloud with --cloud (or OS_CLOUD), or give a token with --token (or OS_TOKEN)."
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{address} did not answer within {TIMEOUT_S:.0f} s."
    return str(details or code.name)


def _is_own(error: Any) -> bool:
    """Whether a service of ours said it: all that ours say carries details (google.rpc.Status)."""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())


class _CallDetails(grpc.ClientCallDetails):
    def __init__(self, details: Any, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = metadata
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _Token(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds x-auth-token to each call, and gets another when it is refused."""

    def __init__(self, token: str, renew: Callable[[], str | None] | None) -> None:
        self._token = token
        self._renew = renew

    def _with(self, details: Any) -> _CallDetails:
        return _CallDetails(details, (*(details.metadata or ()), ("x-auth-token", self._token)))

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        call = continuation(self._with(client_call_details), request)
        if self._renew is None or call.code() is not grpc.StatusCode.UNAUTHENTICATED:
            return call
        token = self._renew()
        if token is None:
            return call
        self._token = token
        return continuation(self._with(client_call_details), request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return continuation(self._with(client_call_details), request)
