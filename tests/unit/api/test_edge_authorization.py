"""The edge's question on the HTTP door: who may ask, and what is answered."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse

from trimtab_api.auth import DefaultPolicy, Identity, NoAuth
from trimtab_api.authz import EdgeAuthorization
from trimtab_api.typed.gate import Gate
from trimtab_common.domain.errors import Unauthenticated, Unavailable

WATCH = "/_authz/trimtab.model.v1.ModelService/WatchModel"
INFER = "/_authz/inference.GRPCInferenceService/ModelInfer"


class Tokens:
    """A token is its holder's role."""

    async def identify(self, headers):
        token = headers.get("x-auth-token")
        if token == "silence":
            raise Unavailable("Tokens cannot be checked.")
        if not token:
            raise Unauthenticated("Who are you?", challenge='Keystone uri="http://k"')
        return Identity(roles=frozenset({token}))

    async def close(self):
        pass


async def ask(path, token=None, *, peer="127.0.0.1", authenticator=None):
    gate = Gate(authenticator=authenticator or Tokens(), policy=DefaultPolicy())
    app = EdgeAuthorization(gate, otherwise=PlainTextResponse("elsewhere", 404))
    transport = httpx.ASGITransport(app, client=(peer, 4711))
    headers = {"x-auth-token": token} if token else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        return await client.post(path, headers=headers)


@pytest.mark.req("A-034")
@pytest.mark.parametrize("path", [WATCH, INFER])
@pytest.mark.parametrize(
    ("token", "status", "words"),
    [
        ("admin", 200, ""),
        (None, 401, "Who are you?"),
        ("reader", 403, "Policy doesn't allow"),
        ("service", 403, "Policy doesn't allow"),
        ("silence", 503, "Tokens cannot be checked."),
    ],
)
async def test_the_answer_is_the_callers(path, token, status, words):
    answer = await ask(path, token)
    assert (answer.status_code, words in answer.text) == (status, True)
    challenge = 'Keystone uri="http://k"' if status == 401 else None
    assert answer.headers.get("www-authenticate") == challenge


async def test_a_method_that_the_edge_does_not_guard_is_refused():
    answer = await ask("/_authz/trimtab.applier.v1.ApplierService/WakePlan", "admin")
    assert answer.status_code == 403


async def test_without_auth_everybody_may():
    assert (await ask(WATCH, authenticator=NoAuth())).status_code == 200


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7", ""])
async def test_other_machines_may_not_even_ask(peer):
    answer = await ask(WATCH, "admin", peer=peer)
    assert (answer.status_code, answer.text) == (404, "elsewhere")


async def test_this_machine_may_ask_by_ipv6():
    assert (await ask(WATCH, "admin", peer="::1")).status_code == 200
