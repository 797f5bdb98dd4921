"""Who may do what, at every door: the reviewed table against the living system.

Rows are found, not listed (`authorization_rows`): each route of the REST API, each RPC of the protos and
each path that the edge transcodes. One without a row fails. TRIMTAB_REMAKE=1 writes the table anew, for review.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from authorization_rows import TABLE, methods, rows, written
from google.protobuf import message_factory

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

WHO = ("no-token", "expired", "reader", "member", "admin", "service")
USERS = {"reader": "reader", "member": "member", "admin": "admin", "service": "aodh"}
NOBODY = "99999999-9999-4999-8999-999999999999"
TOKEN_LIFE_S = 60
FRESH_S = 25
PASSED, CLOSED = "pass", "closed"
GRPC_CELLS = {
    grpc.StatusCode.UNAUTHENTICATED: "401",
    grpc.StatusCode.PERMISSION_DENIED: "403",
    grpc.StatusCode.UNIMPLEMENTED: CLOSED,
}
HEADER = """\
# Who may do what. Every route and RPC of every door, with what each caller gets there:
# 401 or 403 (UNAUTHENTICATED, PERMISSION_DENIED), pass (the request itself is looked at), or
# closed (no such door for anybody). Compared with the living system by tests/system/test_authorization.py;
# made by TRIMTAB_REMAKE=1. Read each changed line before you commit it.
# REST's own RPCs are for the transcoder: called by gRPC they know no path and answer the version document.
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("authorization")),
        ports=ports.free_row(),
        auth="keystone",
        ready_timeout_s=180,
        fakecloud_args=("--hosts", "2", "--servers", "2", "--token-seconds", f"{TOKEN_LIFE_S}"),
        extra_config="[keystone_authtoken]\ntoken_cache_time = 1\n",
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


class Callers:
    """Fresh tokens of everybody, and one that has ended."""

    def __init__(self, keystone: str) -> None:
        self._keystone = keystone
        self._tokens: dict[str, tuple[float, str]] = {}
        self._expired = self._login("admin")
        self._expired_at = time.monotonic() + TOKEN_LIFE_S + 1

    def headers(self, who: str) -> dict[str, str]:
        if who == "no-token":
            return {}
        if who == "expired":
            time.sleep(max(0.0, self._expired_at - time.monotonic()))
            return {"x-auth-token": self._expired}
        since, token = self._tokens.get(who, (0.0, ""))
        if not token or time.monotonic() - since > FRESH_S:
            token = self._login(USERS[who])
            self._tokens[who] = (time.monotonic(), token)
        return {"x-auth-token": token}

    def _login(self, name: str) -> str:
        user = {"name": name, "password": "secret", "domain": {"id": "default"}}
        answer = httpx.post(
            f"{self._keystone}/v3/auth/tokens",
            json={
                "auth": {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {
                        "project": {
                            "name": {"admin": "admin", "aodh": "service"}.get(name, "demo"),
                            "domain": {"id": "default"},
                        }
                    },
                }
            },
            timeout=20,
        )
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]


def ask_http(client: httpx.Client, url: str, method: str, headers: dict[str, str]) -> str:
    body = {"json": {}} if method in ("POST", "PATCH") else {}
    with client.stream(method, url, headers=headers, timeout=30, **body) as answer:
        code = answer.status_code
        if code == 401:
            assert answer.headers["www-authenticate"].startswith("Keystone uri="), url
    assert code < 500, (method, url, code)
    return str(code) if code in (401, 403) else PASSED


def ask_grpc(channel: grpc.Channel, name: str, headers: dict[str, str]) -> str:
    method = next(m for m in methods() if f"{m.containing_service.full_name}/{m.name}" == name)
    request = message_factory.GetMessageClass(method.input_type)()
    for field in method.input_type.fields:
        if field.name in ("audit", "action_plan", "action", "goal", "strategy") and (
            field.type == field.TYPE_STRING and not field.is_repeated
        ):
            setattr(request, field.name, NOBODY)
    data, metadata = request.SerializeToString(), tuple(headers.items())
    path = f"/{name}"
    try:
        if method.client_streaming:
            stream = channel.stream_stream(path)(iter([data]), metadata=metadata, timeout=30)
        elif method.server_streaming:
            stream = channel.unary_stream(path)(data, metadata=metadata, timeout=30)
        else:
            channel.unary_unary(path)(data, metadata=metadata, timeout=30)
            return PASSED
        next(stream, None)
        stream.cancel()
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
            raise
        return GRPC_CELLS.get(error.code(), PASSED)
    return PASSED


def row_text(row: tuple[str, str, str], cells: list[str]) -> str:
    door, method, path = row
    values = " ".join(f"{cell:<8}" for cell in cells).rstrip()
    return f"{door:<5} {method:<7} {path:<64} {values}"


@pytest.fixture(scope="module")
def living(guarded) -> dict[tuple[str, str, str], list[str]]:
    """The whole table as the system answers now."""
    callers = Callers(f"{guarded.fakecloud_url}/identity")
    found: dict[tuple[str, str, str], list[str]] = {row: [] for row in rows()}
    address = f"127.0.0.1:{guarded.ports.gateway}"
    with (
        httpx.Client() as client,
        grpc.insecure_channel(address) as channel,
        ThreadPoolExecutor(4) as pool,
    ):

        def cell(row: tuple[str, str, str], headers: dict[str, str]) -> str:
            door, method, path = row
            if door == "grpc":
                return ask_grpc(channel, path, headers)
            filled = path
            for name in ("ident", *ALL_NAMES):
                filled = filled.replace(f"{{{name}}}", NOBODY)
            answers = {ask_http(client, guarded.url + filled, method, headers)}
            if door == "rest":
                answers.add(ask_http(client, guarded.asgi_url + filled, method, headers))
            assert len(answers) == 1, (row, "the doors differ", answers)
            return answers.pop()

        columns: dict[str, list[str]] = {}
        for who in sorted(WHO, key=lambda who: who == "expired"):  # by then it has
            columns[who] = []
            for start in range(0, len(found), 20):  # so that no token ends meanwhile
                part = list(found)[start : start + 20]
                headers = callers.headers(who)
                columns[who] += pool.map(lambda row: cell(row, headers), part)  # noqa: B023, used up within the turn
    for number, row in enumerate(found):
        found[row] = [columns[who][number] for who in WHO]
    return found


ALL_NAMES = (
    *("audit", "audit.uuid", "audit_template", "audit_template.uuid", "action_plan", "action"),
    *("goal", "strategy", "scoring_engine", "service"),
)


@pytest.mark.timeout(300)
@pytest.mark.req("A-033", "A-034", "A-035")
def test_everybody_gets_at_every_door_what_the_table_says(living):
    if os.environ.get("TRIMTAB_REMAKE"):
        heading = row_text(("door", "method", "path"), list(WHO))
        lines = [row_text(row, cells) for row, cells in living.items()]
        TABLE.write_text(HEADER + "\n".join((heading, *lines)) + "\n")
    table = written(TABLE.read_text())
    assert table.keys() - living.keys() == set(), "rows of doors that are gone"
    assert living.keys() - table.keys() == set(), "doors without a row"
    differing = {row: (table[row], cells) for row, cells in living.items() if table[row] != cells}
    assert not differing


@pytest.mark.req("A-034")
def test_the_table_lets_only_operators_in_but_for_what_it_names():
    public = {"GET /", "GET /trimtab/v1/openapi.json"}
    for (door, method, path), cells in written(TABLE.read_text()).items():
        name = f"{method} {path}"
        if name in public or path.startswith("trimtab.rest.v1."):
            assert set(cells) == {PASSED}, name
        elif path.startswith(("trimtab.decision.", "trimtab.applier.")):
            assert set(cells) == {CLOSED}, name
        else:
            assert cells[:2] == ["401", "401"], (door, name)
            assert cells[4] == PASSED, (door, name)
            webhook = "webhooks" in path or path.endswith(("/trigger", "TriggerAudit"))
            token_only = name == "GET /v1"
            expected = PASSED if webhook or token_only else "403"
            assert cells[5] == expected, (door, name)
            assert set(cells[2:4]) == ({PASSED} if token_only else {"403"}), (door, name)
