"""Logs: the request id of the task, and no secrets."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from trimtab_common.runtime import logs

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_a_secret_is_never_written(capsys):
    logs.configure(form="json", level="INFO", service="test")
    logs.bind_request_id("req-1")
    structlog.get_logger("x").info("login", password="hunter2", x_auth_token="t", user="u")
    line = json.loads(capsys.readouterr().err)
    assert line["password"] == line["x_auth_token"] == "***"
    assert (line["user"], line["request_id"], line["service"]) == ("u", "req-1", "test")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_no_local_variables(form, capsys):
    logs.configure(form=form, level="INFO", service="test")

    def login(credential: str) -> None:
        raise ValueError(f"{len(credential)} characters do not log in")

    try:
        login(SECRET)
    except ValueError:
        structlog.get_logger("x").exception("failed")
    text = capsys.readouterr().err
    assert "7 characters do not log in" in text
    assert "login" in text
    assert SECRET not in text
