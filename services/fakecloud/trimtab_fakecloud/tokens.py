"""Users, projects and tokens: what Keystone knows."""

import hashlib
import uuid
from dataclasses import dataclass

from trimtab_fakecloud.clock import Clock
from trimtab_fakecloud.errors import Forbidden, NotFound, Unauthorized

_NAMESPACE = uuid.UUID("6f9a5b1c-7d0e-4c2f-9f57-2f0c1f0f7a11")


def stable_id(kind: str, name: str) -> str:
    """The same id for the same name in every fake cloud, as Keystone writes ids."""
    return uuid.uuid5(_NAMESPACE, f"{kind}/{name}").hex


@dataclass(frozen=True, slots=True)
class User:
    """Someone with a password and roles in one project."""

    name: str
    password: str
    project: str
    roles: tuple[str, ...]

    @property
    def id(self) -> str:
        """Keystone's id."""
        return stable_id("user", self.name)

    @property
    def project_id(self) -> str:
        """The project's id."""
        return stable_id("project", self.project)


NO_ENTRY = "The request you have made requires authentication."
# admin implies manager, that member, that reader: a token names them all
USERS = tuple(
    User(name, "secret", project, roles)
    for name, project, roles in (
        ("admin", "admin", ("admin", "manager", "member", "reader")),
        ("watcher", "service", ("admin", "manager", "member", "reader", "service")),
        ("member", "demo", ("member", "reader")),
        ("reader", "demo", ("reader",)),
        ("aodh", "service", ("service",)),
    )
)


@dataclass(frozen=True, slots=True)
class Token:
    """Proof of who one is, for a while."""

    id: str
    user: User
    methods: tuple[str, ...]
    audit_id: str
    issued_at: float
    expires_at: float
    scoped: bool = True

    @property
    def is_admin(self) -> bool:
        """May do what Nova leaves to operators."""
        return self.scoped and "admin" in self.user.roles

    @property
    def project_id(self) -> str | None:
        """The project it is for."""
        return self.user.project_id if self.scoped else None

    def require_admin(self, rule: str) -> None:
        """Refuse all but admins, in the words of oslo.policy.

        Raises:
            Forbidden: the token lacks the role.
        """
        if not self.is_admin:
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")


class Identity:
    """Issues, checks and revokes tokens."""

    def __init__(self, clock: Clock, lifetime_s: float, seed: int) -> None:
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._seed = seed
        self._issued = 0
        self._tokens: dict[str, Token] = {}

    def login(self, name: str, password: str, *, scoped: bool = True) -> Token:
        """A token for a name (or user id) and a password.

        Raises:
            Unauthorized: they do not match.
        """
        for user in USERS:
            if name in (user.name, user.id) and password == user.password:
                return self._issue(
                    user, ("password",), self._clock.time() + self.lifetime_s, scoped
                )
        raise Unauthorized(NO_ENTRY)

    def exchange(self, token_id: str, *, scoped: bool = True) -> Token:
        """A new token for an old one, which ends no later.

        Raises:
            Unauthorized: the old one is not good.
        """
        old = self.check(token_id)
        return self._issue(old.user, ("token", *old.methods), old.expires_at, scoped)

    def check(self, token_id: str | None) -> Token:
        """The token, if it is good.

        Raises:
            Unauthorized: unknown, revoked or expired.
        """
        token = self._tokens.get(token_id or "")
        if token is None or token.expires_at <= self._clock.time():
            raise Unauthorized(NO_ENTRY)
        return token

    def revoke(self, token_id: str) -> None:
        """End a token now.

        Raises:
            NotFound: it was not good anyway.
        """
        if self._tokens.pop(token_id, None) is None:
            raise NotFound(f"Could not recognize Fernet token {token_id[:8]}...")

    def revoke_user(self, name: str) -> int:
        """End all tokens of a user; tells how many."""
        ending = [t.id for t in self._tokens.values() if t.user.name == name]
        for token_id in ending:
            del self._tokens[token_id]
        return len(ending)

    def _issue(
        self,
        user: User,
        methods: tuple[str, ...],
        expires_at: float,
        scoped: bool,  # noqa: FBT001, private
    ) -> Token:
        self._issued += 1
        drawn = hashlib.sha256(f"{self._seed}/{self._issued}/{user.name}".encode()).hexdigest()
        token = Token(
            id=f"gAAAAA{drawn}",
            user=user,
            methods=tuple(dict.fromkeys(methods)),
            audit_id=drawn[:22],
            issued_at=self._clock.time(),
            expires_at=expires_at,
            scoped=scoped,
        )
        self._tokens[token.id] = token
        return token
