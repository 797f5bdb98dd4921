"""Tokens are asked about once, remembered for a while, and never longer than they live."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta

import openstack
import pytest

from trimtab_api.auth import DefaultPolicy, Identity, NoAuth
from trimtab_api.keystone import MAX_ASKING, KeystoneAuthenticator, KeystoneClient, TokenFacts
from trimtab_api.main import make_authenticator
from trimtab_api.settings import GROUPS, ApiSettings
from trimtab_common.domain.errors import (
    FailedPrecondition,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.runtime.settings import load
from trimtab_fakecloud import CloudSpec, running_fakecloud

ADMIN = Identity(user_id="u", project_id="p", roles=frozenset({"admin"}))


class Keystone:
    """Answers after `gate` opens; counts how often it was asked."""

    auth_url = "http://keystone.test/v3"

    def __init__(self, clock):
        self.asked = []
        self.lifetime_s = 3600.0
        self.is_down = False
        self.is_revoked = False
        self.gate = threading.Event()
        self.gate.set()
        self._clock = clock

    def look_up(self, token):
        self.asked.append(token)
        assert self.gate.wait(10)
        if self.is_down:
            raise Unavailable("Keystone does not answer.")
        if token != "good" or self.is_revoked:
            return None
        expires_at = self._clock.now() + timedelta(seconds=self.lifetime_s)
        return TokenFacts(identity=ADMIN, expires_at=expires_at)

    def close(self):
        self.gate.set()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def keystone(clock):
    return Keystone(clock)


@pytest.fixture
async def auth(keystone, clock):
    authenticator = KeystoneAuthenticator(keystone, clock=clock)
    yield authenticator
    await authenticator.close()


GOOD, BAD = {"x-auth-token": "good"}, {"x-auth-token": "bad"}


@pytest.mark.req("A-033")
async def test_a_good_token_is_asked_about_once_a_minute(auth, keystone, clock):
    for _ in range(3):
        assert await auth.identify(GOOD) == ADMIN
    assert keystone.asked == ["good"]
    await clock.advance(61)
    await auth.identify(GOOD)
    assert keystone.asked == ["good", "good"]


@pytest.mark.req("A-033")
async def test_no_token_and_a_bad_token_are_refused_with_a_challenge(auth, keystone):
    for headers in ({}, {"x-auth-token": ""}, BAD, BAD):
        with pytest.raises(Unauthenticated) as caught:
            await auth.identify(headers)
        assert caught.value.message == "The request you have made requires authentication."
        assert caught.value.details["challenge"] == 'Keystone uri="http://keystone.test/v3"'
    assert keystone.asked == ["bad"]


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Roles: admin", "ключ", "\x00", "x" * 8193])
async def test_what_can_be_no_token_is_refused_without_asking(auth, keystone, token):
    with pytest.raises(Unauthenticated):
        await auth.identify({"x-auth-token": token})
    assert keystone.asked == []


async def test_a_refused_token_is_asked_about_again_after_some_seconds(auth, keystone, clock):
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await auth.identify(BAD)
    await clock.advance(6)
    with pytest.raises(Unauthenticated):
        await auth.identify(BAD)
    assert keystone.asked == ["bad", "bad"]


async def test_a_token_is_never_remembered_longer_than_it_lives(auth, keystone, clock):
    keystone.lifetime_s = 5
    await auth.identify(GOOD)
    await clock.advance(6)
    await auth.identify(GOOD)
    assert len(keystone.asked) == 2


async def test_a_token_that_keystone_lets_live_past_its_end_is_refused(auth, keystone):
    keystone.lifetime_s = -1
    with pytest.raises(Unauthenticated):
        await auth.identify(GOOD)


async def test_a_revoked_token_dies_within_the_minute(auth, keystone, clock):
    await auth.identify(GOOD)
    keystone.is_revoked = True
    await clock.advance(59)
    assert await auth.identify(GOOD) == ADMIN
    await clock.advance(2)
    with pytest.raises(Unauthenticated):
        await auth.identify(GOOD)


async def test_many_first_requests_ask_once(auth, keystone):
    keystone.gate.clear()
    waiting = [asyncio.create_task(auth.identify(GOOD)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    keystone.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[1:] == [ADMIN] * 49
    assert keystone.asked == ["good"]


async def test_only_so_many_unknown_tokens_may_wait(auth, keystone):
    keystone.gate.clear()
    waiting = [
        asyncio.create_task(auth.identify({"x-auth-token": f"t{n}"})) for n in range(MAX_ASKING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="Keystone is slow"):
        await auth.identify(GOOD)
    keystone.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {Unauthenticated}
    assert await auth.identify(GOOD) == ADMIN


async def test_an_answer_that_did_not_come_is_not_remembered(auth, keystone):
    keystone.is_down = True
    with pytest.raises(Unavailable):
        await auth.identify(GOOD)
    keystone.is_down = False
    assert await auth.identify(GOOD) == ADMIN


async def test_remembered_tokens_stay_good_while_keystone_is_away(auth, keystone):
    await auth.identify(GOOD)
    keystone.is_down = True
    assert await auth.identify(GOOD) == ADMIN
    with pytest.raises(Unavailable):
        await auth.identify(BAD)


async def test_tokens_are_not_kept_in_clear(auth):
    await auth.identify(GOOD)
    assert len(auth._good._entries) == 1
    assert b"good" not in b"".join(auth._good._entries)
    assert "good" not in repr(auth._good._entries)


@pytest.mark.req("A-034")
@pytest.mark.parametrize(
    ("role", "rule", "may"),
    [
        ("admin", "audit:create", True),
        ("Administrator", "audit:create", True),
        ("member", "audit:get", False),
        ("service", "audit:create", False),
        ("service", "webhook:trigger", True),
        ("member", "webhook:trigger", False),
    ],
)
def test_the_default_policy(role, rule, may):
    identity = Identity(roles=frozenset({role}))
    if may:
        DefaultPolicy().enforce(rule, identity)
        return
    with pytest.raises(PermissionDenied, match=f"Policy doesn't allow {rule} to be performed."):
        DefaultPolicy().enforce(rule, identity)


def settings_from(text, tmp_path):
    path = tmp_path / "trimtab.conf"
    path.write_text(text)
    common, conf = load(["--config-file", str(path)], prog="trimtab-api", groups=GROUPS)
    return ApiSettings.from_conf(conf, debug=common.debug), conf


async def test_keystone_needs_a_cloud_or_its_section(tmp_path):
    settings, conf = settings_from("", tmp_path)
    with pytest.raises(FailedPrecondition, match=r"fill \[keystone_authtoken\]"):
        await make_authenticator(settings, conf, cloud=None)


async def test_a_cloud_that_is_in_no_clouds_yaml_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    settings, conf = settings_from("", tmp_path)
    with pytest.raises(FailedPrecondition, match="No way to Keystone: Cloud nowhere"):
        await make_authenticator(settings, conf, cloud="nowhere")


async def test_keystone_is_asked_with_the_service_users_session(tmp_path):
    settings, conf = settings_from(
        "[api]\nauth=keystone\n[keystone_authtoken]\nauth_type=password\n"
        "auth_url=http://127.0.0.1:1/v3\nusername=u\npassword=p\nproject_name=s\n"
        "user_domain_id=default\nproject_domain_id=default\n"
        "www_authenticate_uri=https://cloud.test/identity\n",
        tmp_path,
    )
    authenticator = await make_authenticator(settings, conf, cloud=None)
    with pytest.raises(Unauthenticated) as caught:
        await authenticator.identify({})
    assert caught.value.details["challenge"] == 'Keystone uri="https://cloud.test/identity"'
    with pytest.raises(Unavailable, match=r"Keystone at http://127.0.0.1:1/v3: it does not answer"):
        await authenticator.identify(GOOD)
    await authenticator.close()


@pytest.mark.req("A-033")
@pytest.mark.parametrize("option", ["auth=none", "enable_authentication=false"])
async def test_without_auth_everybody_is_an_administrator(tmp_path, option):
    settings, conf = settings_from(f"[api]\nmax_limit=7\n{option}\n", tmp_path)
    assert settings.max_limit == 7
    assert isinstance(await make_authenticator(settings, conf, cloud=None), NoAuth)


@pytest.fixture
async def cloud():
    async with running_fakecloud(CloudSpec(hosts=1, servers=0)) as running:
        yield running


def client_of(cloud, **changed):
    entry = cloud.entry("watcher")
    return KeystoneClient(
        lambda: openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth={**entry["auth"], **changed},
            region_name=entry["region_name"],
        )
    )


@pytest.fixture
async def asked(cloud, clock):
    """An authenticator before the fake cloud's Keystone."""
    authenticator = KeystoneAuthenticator(await asyncio.to_thread(client_of, cloud), clock=clock)
    yield authenticator
    await authenticator.close()


async def identify(authenticator, token):
    return await authenticator.identify({"x-auth-token": token.id})


async def at_issue(clock, token):
    """Moves the still clock to where the cloud's time is."""
    await clock.advance(token.issued_at - clock.now().timestamp())


@pytest.mark.req("A-033")
@pytest.mark.parametrize(
    ("user", "role"), [("admin", "admin"), ("watcher", "service"), ("reader", "reader")]
)
async def test_keystone_says_who_somebody_is(cloud, asked, clock, user, role):
    token = cloud.state.identity.login(user, "secret")
    await at_issue(clock, token)
    identity = await identify(asked, token)
    assert identity.user_id == token.user.id
    assert identity.project_id == token.project_id
    assert identity.roles == frozenset(token.user.roles)
    assert role in identity.roles


async def test_a_token_for_no_project_has_no_roles(cloud, asked, clock):
    token = cloud.state.identity.login("admin", "secret", scoped=False)
    await at_issue(clock, token)
    assert await identify(asked, token) == Identity(user_id=token.user.id)


@pytest.mark.req("A-033")
async def test_keystone_refuses_an_unknown_and_a_revoked_token(cloud, asked, clock, caplog):
    caplog.set_level(logging.DEBUG)
    token = cloud.state.identity.login("admin", "secret")
    await at_issue(clock, token)
    await identify(asked, token)
    cloud.state.identity.revoke(token.id)
    await clock.advance(61)
    with pytest.raises(Unauthenticated):
        await identify(asked, token)
    with pytest.raises(Unauthenticated):
        await asked.identify({"x-auth-token": "gAAAAAnone"})
    assert token.id not in caplog.text


async def test_a_service_token_that_ended_is_replaced(cloud, asked, clock):
    first, second = (cloud.state.identity.login("admin", "secret") for _ in range(2))
    await at_issue(clock, first)
    await identify(asked, first)
    assert cloud.state.identity.revoke_user("watcher") == 1
    assert (await identify(asked, second)).user_id == second.user.id


@pytest.mark.parametrize("status", [500, 403, 429])
async def test_when_keystone_cannot_tell_it_is_nobodys_fault_but_its_own(
    cloud, asked, clock, status
):
    token = cloud.state.identity.login("admin", "secret")
    await at_issue(clock, token)
    fault = {"service": "identity", "method": "GET", "path_contains": "tokens", "status": status}
    cloud.state.faults.update({"requests": [fault]})
    with pytest.raises(Unavailable, match=f"it answers {status}. Try again"):
        await identify(asked, token)
    cloud.state.faults.update({"requests": []})
    await identify(asked, token)


async def test_a_wrong_service_user_is_said_and_is_no_refusal_of_the_caller(cloud, clock):
    token = cloud.state.identity.login("admin", "secret")
    wrong = await asyncio.to_thread(client_of, cloud, password="forgotten")
    authenticator = KeystoneAuthenticator(wrong, clock=clock)
    with pytest.raises(Unavailable, match="it refuses api's own user"):
        await identify(authenticator, token)
    await authenticator.close()
