"""Users that the cloud does not come with: `member` and `reader`, each with that role, in project `demo`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PASSWORD = "secret"
PROJECT = "demo"
ROLES = ("member", "reader")
DOMAIN = "default"


@contextmanager
def small_users(connection: Any) -> Iterator[None]:
    """Makes those that are missing, and removes what it made. `connection`: an administrator's."""
    identity = connection.identity
    with ExitStack() as made:
        project = identity.find_project(PROJECT, domain_id=DOMAIN)
        if project is None:
            project = identity.create_project(name=PROJECT, domain_id=DOMAIN)
            made.callback(identity.delete_project, project)
        for role in ROLES:
            if identity.find_user(role, domain_id=DOMAIN) is not None:
                continue
            user = identity.create_user(name=role, password=PASSWORD, domain_id=DOMAIN)
            made.callback(identity.delete_user, user)
            identity.assign_project_role_to_user(project, user, identity.find_role(role))
        yield


def entry_of(user: str, admin: dict[str, Any]) -> dict[str, Any]:
    """The entry of clouds.yaml of such a user, made from the administrator's."""
    auth = admin["auth"] | {"username": user, "password": PASSWORD, "project_name": PROJECT}
    return admin | {"auth": auth}
