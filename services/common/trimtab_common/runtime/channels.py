"""Channels to other services. Every call passes `timeout=` itself: a service config misfires."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from trimtab_common.domain.errors import InvalidArgument
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


def open_channel(*addresses: str) -> grpc.aio.Channel:
    """A lazy channel that sends the current request id with each call.

    Of several addresses the first that can be connected to is used; when it is lost, the next.
    InvalidArgument: several, and one is not an IP address with a port.
    """
    return grpc.aio.insecure_channel(
        _target(addresses), options=OPTIONS, interceptors=[_UnaryRequestId(), _StreamRequestId()]
    )


def _target(addresses: Sequence[str]) -> str:
    """What gRPC calls these; only IP addresses have a form for several of them."""
    if len(addresses) == 1:
        return addresses[0]
    versions = set()
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            versions.add(ipaddress.ip_address(host.strip("[]")).version)
        except ValueError:
            versions.clear()
        if not versions or not port.isdecimal():
            raise InvalidArgument(
                f"{address!r} is no IP address with a port. Where several collectors are named in "
                "[trimtab] collector and other_collectors, each is to be like 192.0.2.7:9325."
            )
    if len(versions) > 1:
        raise InvalidArgument(
            f"{', '.join(addresses)}: name all collectors by IPv4, or all by IPv6 addresses."
        )
    return f"ipv{versions.pop()}:{','.join(addresses)}"
