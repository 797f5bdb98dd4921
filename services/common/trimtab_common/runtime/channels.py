"""Channels to other services. Every call passes `timeout=` itself: a service config misfires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from trimtab_common.runtime import logs

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of an answer: who asks may be told much."""
MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""Of a request, which is taken in before anybody looks at its token: the largest body that the edge
lets through, and what is around it."""
OPTIONS = (
    ("grpc.http2.bdp_probe", 0),  # a slow reader is noticed after 0.1 MB, not after 9
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_http_proxy", 0),
)


def _with_request_id(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata["x-openstack-request-id"] = logs.current_request_id()
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


class _UnaryRequestId(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)


class _StreamRequestId(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)


def open_channel(address: str) -> grpc.aio.Channel:
    """A lazy channel to `address` that sends the current request id with each call."""
    return grpc.aio.insecure_channel(
        address, options=OPTIONS, interceptors=[_UnaryRequestId(), _StreamRequestId()]
    )
