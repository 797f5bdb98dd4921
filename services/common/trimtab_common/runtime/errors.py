"""Errors on the wire: one interceptor turns ours into a status, one function turns them back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from trimtab_common.domain import errors
from trimtab_common.runtime import logs

log = structlog.get_logger(__name__)
DOMAIN = "trimtab"
_MAX_BYTES = 1000
"""Of a text in a status. It travels in trailers, up to three times as long and twice; both sides
refuse trailers above 8 KB, and the caller would see a broken connection and no error."""
_BY_CODE: dict[grpc.StatusCode, type[errors.TrimtabError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.FailedPrecondition,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
}


class RemoteError(errors.TrimtabError):
    """Another service failed in a way that has no class of its own here."""

    reason = "REMOTE_ERROR"


def from_rpc_error(error: grpc.RpcError) -> errors.TrimtabError:
    """The domain error that the other side raised; its reason is in `details["reason"]`."""
    kind = _BY_CODE.get(error.code(), RemoteError)
    details: dict[str, str] = {}
    status = rpc_status.from_call(cast("Any", error))
    for detail in status.details if status is not None else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            details = {**info.metadata, "reason": info.reason}
    return kind(error.details() or error.code().name, **details)


def to_status(error: errors.TrimtabError, request_id: str) -> status_pb2.Status:
    """The rich status of one of our errors: text, code, reason and details.

    An error that knows when to try again says so in its detail `retry_after_s`.
    """
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={
            **{key: _shortened(str(value)) for key, value in error.details.items()},
            "request_id": request_id,
        },
    )
    packed = [_packed(info)]
    if (wait := error.details.get("retry_after_s")) is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(float(wait) * 1000))
        packed.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code.value),
        message=_shortened(error.message),
        details=packed,
    )


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _shortened(text: str) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= _MAX_BYTES:
        return text
    return encoded[:_MAX_BYTES].decode(errors="ignore") + "..."


async def _answer(
    context: grpc.aio.ServicerContext[Any, Any], error: Exception, *, method: str, debug: bool
) -> None:
    request_id = logs.current_request_id()
    if isinstance(error, errors.TrimtabError) and not isinstance(error, errors.Bug):
        known = error
    else:
        log.error("request failed", method=method, exc_info=error)
        cause = f": {type(error).__name__}: {error}" if debug else ""
        known = errors.TrimtabError(f"Internal error, see the log for {request_id}{cause}")
    status = rpc_status.to_status(to_status(known, request_id))
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(known, errors.Unauthenticated) and "challenge" in known.details:
        # Behind the transcoder this is the header that HTTP demands of every 401.
        headers = (("www-authenticate", known.details["challenge"]),)
    await context.abort(
        status.code, status.details, trailing_metadata=(*status.trailing_metadata, *headers)
    )


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Binds the request id, runs the handler and answers errors with status and ErrorInfo."""

    def __init__(self, *, debug: bool = False) -> None:
        self._debug = debug

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Wraps unary-unary and unary-stream handlers; the others are not used here."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        metadata = dict(handler_call_details.invocation_metadata or ())
        wanted = metadata.get("x-openstack-request-id")
        request_id = wanted if isinstance(wanted, str) else None
        method = str(handler_call_details.method)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(handler.unary_unary, request_id, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(handler.unary_stream, request_id, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return handler

    def _unary(self, inner: Callable[..., Any], request_id: str | None, method: str) -> Any:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            logs.bind_request_id(request_id)
            try:
                return await inner(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001, the one place that answers unknown errors
                await _answer(context, error, method=method, debug=self._debug)
                return None

        return handle

    def _stream(self, inner: Callable[..., Any], request_id: str | None, method: str) -> Any:
        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            logs.bind_request_id(request_id)
            try:
                async for response in inner(request, context):
                    yield response
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001, the one place that answers unknown errors
                await _answer(context, error, method=method, debug=self._debug)

        return handle
