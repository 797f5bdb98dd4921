"""Structured logs: one event a line, with the request id of the call that caused it."""

from __future__ import annotations

import logging
import re
import sys
import uuid
from typing import Literal

import structlog

SECRET_KEYS = re.compile(r"password|secret|token|authorization|api_key", re.IGNORECASE)


def new_request_id() -> str:
    """A request id in OpenStack's form: req-<uuid>."""
    return f"req-{uuid.uuid4()}"


def bind_request_id(request_id: str | None = None) -> str:
    """Makes `request_id` (or a new one) the id of everything this task does; returns it."""
    chosen = request_id or new_request_id()
    structlog.contextvars.bind_contextvars(request_id=chosen)
    return chosen


def current_request_id() -> str:
    """The id bound in this task; a new one when there is none."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return found if isinstance(found, str) else bind_request_id()


def _hide_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for key in event:
        if SECRET_KEYS.search(key):
            event[key] = "***"
    return event


def configure(*, form: Literal["console", "json"], level: str, service: str) -> None:
    """Sends structlog's and the standard library's records to stderr in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.CallsiteParameterAdder([]),
        _hide_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the other one prints local variables
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ]
            if form == "json"
            else [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in (
        "httpx",
        "httpcore",
        "aiosqlite",
        "keystoneauth",
        "urllib3",
        "alembic",
        "openstack",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    for own_loop in ("aiormq", "aio_pika"):  # a traceback for each lost connection, which we name
        logging.getLogger(own_loop).setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(service=service)
