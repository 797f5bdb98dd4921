import dataclasses

import httpx
import openstack.exceptions as sdk
import pytest

from trimtab_fakecloud import CloudSpec

SERVICE_TYPES = {"identity", "compute", "placement", "infra-optim"}


def test_the_catalogue_names_every_service(conn):
    catalogue = conn.session.auth.get_access(conn.session).service_catalog.catalog
    assert {entry["type"] for entry in catalogue} >= SERVICE_TYPES
    assert conn.session.get_endpoint(service_type="infra-optim") == "http://127.0.0.1:9322"


def test_the_watcher_user_is_admin_and_service_in_project_service(login):
    access = (connection := login("watcher")).session.auth.get_access(connection.session)
    assert access.project_name == "service"
    implied = {"manager", "member", "reader"}
    assert set(access.role_names) == {"admin", "service", *implied}


def test_a_wrong_password_is_refused(login):
    with pytest.raises(sdk.SDKException, match="requires authentication"):
        login("admin", password="wrong").authorize()


def test_a_project_without_a_role_is_refused(login):
    with pytest.raises(sdk.SDKException, match="requires authentication"):
        login("member", project_name="admin").authorize()


def test_a_service_validates_the_token_of_a_user(login, conn):
    token = login("reader").auth_token
    answer = conn.identity.get("/auth/tokens", headers={"X-Subject-Token": token})
    described = answer.json()["token"]
    assert described["user"]["name"] == "reader"
    assert [role["name"] for role in described["roles"]] == ["reader"]
    assert answer.headers["X-Subject-Token"] == token


def test_an_unknown_subject_token_is_not_found(conn):
    answer = conn.identity.get("/auth/tokens", headers={"X-Subject-Token": "gAAAAnone"})
    assert answer.status_code == 404


def test_a_revoked_token_is_refused_everywhere(cloud, conn):
    token = conn.auth_token
    headers = {"X-Auth-Token": token}
    with httpx.Client(base_url=cloud.base_url, headers=headers) as client:
        assert client.get("/compute/v2.1/servers").status_code == 200
        conn.identity.delete("/auth/tokens", headers={"X-Subject-Token": token})
        for path in ("/compute/v2.1/servers", "/placement/resource_providers"):
            answer = client.get(path)
            assert answer.status_code == 401
            assert answer.json()["error"]["title"] == "Unauthorized"


def test_the_sdk_logs_in_again_when_its_token_was_revoked(cloud, conn):
    list(conn.compute.flavors())
    with httpx.Client(base_url=cloud.base_url) as client:
        answer = client.post("/control/tokens/revoke", json={"user": "admin"})
    assert answer.json()["revoked"] >= 1
    assert list(conn.compute.flavors())


class TestShortLives:
    @pytest.fixture
    def spec(self):
        return dataclasses.replace(CloudSpec(hosts=2, servers=2), token_lifetime_s=0.2)

    def test_a_token_ends_when_its_time_is_over(self, cloud, conn, eventually):
        headers = {"X-Auth-Token": conn.auth_token}
        with httpx.Client(base_url=cloud.base_url, headers=headers) as client:
            eventually(lambda: client.get("/compute/v2.1/servers").status_code == 401)


def test_a_service_without_a_token_says_401(cloud):
    with httpx.Client(base_url=cloud.base_url) as client:
        answer = client.get("/compute/v2.1/servers/detail")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone")
