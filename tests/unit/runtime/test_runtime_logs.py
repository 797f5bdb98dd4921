"""Logs: the request id of the task, and no secrets."""

from __future__ import annotations

import json
import logging

import structlog

from trimtab_common.runtime import logs


def test_a_secret_is_never_written(capsys):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        logs.configure(form="json", level="INFO", service="test")
        logs.bind_request_id("req-1")
        structlog.get_logger("x").info("login", password="hunter2", x_auth_token="t", user="u")
        line = json.loads(capsys.readouterr().err)
    finally:
        root.handlers, root.level = handlers, level
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert line["password"] == line["x_auth_token"] == "***"
    assert (line["user"], line["request_id"], line["service"]) == ("u", "req-1", "test")
