"""Tokens are asked about once, remembered for a while, and never longer than they live."""

import asyncio
from datetime import timedelta

import pytest

from trimtab_api.auth import DefaultPolicy, Identity, NoAuth
from trimtab_api.keystone import KeystoneAuth, Verdict, parse_token
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

ADMIN = Identity(user_id="u", project_id="p", roles=frozenset({"admin"}))


class Keystone:
    """Answers after `gate` opens; counts how often it was asked."""

    def __init__(self, clock):
        self.asked = []
        self.lifetime_s = 3600.0
        self.is_down = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._clock = clock

    async def __call__(self, token):
        self.asked.append(token)
        await self.gate.wait()
        if self.is_down:
            raise Unavailable("Keystone does not answer.")
        if token == "good":
            return Verdict(
                identity=ADMIN, expires_at=self._clock.now() + timedelta(seconds=self.lifetime_s)
            )
        return Verdict(identity=None)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def keystone(clock):
    return Keystone(clock)


@pytest.fixture
def auth(keystone, clock):
    return KeystoneAuth(keystone, clock=clock, www_authenticate_uri="http://keystone.test/v3")


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
    for headers in ({}, BAD, BAD):
        with pytest.raises(Unauthenticated) as caught:
            await auth.identify(headers)
        assert caught.value.details["challenge"] == 'Keystone uri="http://keystone.test/v3"'
    assert keystone.asked == ["bad"]


async def test_a_token_is_never_remembered_longer_than_it_lives(auth, keystone, clock):
    keystone.lifetime_s = 5
    await auth.identify(GOOD)
    await clock.advance(6)
    await auth.identify(GOOD)
    assert len(keystone.asked) == 2


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


async def test_an_answer_that_did_not_come_is_not_remembered(auth, keystone):
    keystone.is_down = True
    with pytest.raises(Unavailable):
        await auth.identify(GOOD)
    keystone.is_down = False
    assert await auth.identify(GOOD) == ADMIN


async def test_tokens_are_not_kept_in_clear(auth):
    await auth.identify(GOOD)
    assert len(auth._known) == 1
    assert "good" not in repr(auth._known)


def test_the_body_of_keystone_is_read():
    verdict = parse_token(
        {
            "user": {"id": "u"},
            "project": {"id": "p"},
            "roles": [{"id": "1", "name": "admin"}],
            "expires_at": "2026-03-01T08:00:00.000000Z",
        }
    )
    assert verdict.identity == ADMIN
    assert verdict.expires_at.isoformat() == "2026-03-01T08:00:00+00:00"


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


def test_keystone_needs_its_section(tmp_path):
    settings, conf = settings_from("[api]\nauth=keystone\n", tmp_path)
    with pytest.raises(FailedPrecondition, match=r"needs \[keystone_authtoken\]"):
        make_authenticator(settings, conf)


async def test_keystone_is_asked_with_the_service_users_session(tmp_path):
    settings, conf = settings_from(
        "[api]\nauth=keystone\n[keystone_authtoken]\nauth_type=password\n"
        "auth_url=http://127.0.0.1:1/v3\nusername=u\npassword=p\nproject_name=s\n"
        "user_domain_id=default\nproject_domain_id=default\n",
        tmp_path,
    )
    authenticator = make_authenticator(settings, conf)
    with pytest.raises(Unavailable, match="Keystone does not answer"):
        await authenticator.identify(GOOD)


def test_without_auth_everybody_is_an_administrator(tmp_path):
    settings, conf = settings_from("[api]\nmax_limit=7\n", tmp_path)
    assert settings.max_limit == 7
    assert isinstance(make_authenticator(settings, conf), NoAuth)
