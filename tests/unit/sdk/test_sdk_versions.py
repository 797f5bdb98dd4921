"""The SDK before an API that knows less than ours, as Watcher's does."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openstack
import pytest
from openstack import exceptions

from trimtab_sdk import connected

AUDIT = {"uuid": "00000000-0000-4000-8000-000000000001", "state": "ONGOING"}
pytestmark = [
    pytest.mark.req("C-169"),
    pytest.mark.filterwarnings("ignore::openstack.warnings._RemovedInSDKWarning"),
]


class Older(BaseHTTPRequestHandler):
    """Ends at 1.7 and refuses what is newer with 406; notes what it is asked for."""

    asked: list[tuple[str, str, str | None]]
    offered = "1.7"

    def _answer(self) -> None:
        version = self.headers.get("OpenStack-API-Version")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/" and self.offered == "":
            self._say(200, {"versions": []})
            return
        if self.path == "/":
            link = {"href": f"http://{self.headers['Host']}/v1/", "rel": "self"}
            known = {
                "id": "v1",
                "status": "CURRENT",
                "min_version": "1.0",
                "max_version": self.offered,
            }
            self._say(200, {"versions": [known | {"links": [link]}]})
            return
        self.asked.append((self.command, self.path, version))
        self._say(200 if version == "infra-optim 1.7" else 406, AUDIT)

    def _say(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815, the names of http.server

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def older():
    Older.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Older)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    connection = openstack.connection.Connection(
        auth_type="none", infra_optim_endpoint_override=url
    )
    yield connected(connection).infra_optim
    connection.close()
    server.shutdown()
    server.server_close()


def test_all_it_asks_for_is_what_the_older_one_knows(older):
    audit = older.get_audit(AUDIT["uuid"])
    assert older.create_audit(audit_type="ONESHOT", goal="dummy").id == audit.id
    older.cancel_audit(audit)
    older.start_action_plan(AUDIT["uuid"])
    older.skip_action(AUDIT["uuid"])
    older.get_strategy_state("dummy")
    older.get_data_model()
    older.trigger_audit(audit)
    assert {version for _, _, version in Older.asked} == {"infra-optim 1.7"}
    assert {method for method, _, _ in Older.asked} == {"GET", "POST", "PATCH"}


def test_what_is_no_such_api_is_said_to_be_none(older, monkeypatch):
    endpoint = older.get_endpoint()  # found while it was one
    monkeypatch.setattr(Older, "offered", "")
    with pytest.raises(exceptions.SDKException, match="offers no v1"):
        list(older.goals())
    assert endpoint
    assert Older.asked == []
