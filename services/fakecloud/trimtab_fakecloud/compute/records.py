"""Opens the record of a move."""

from dataclasses import dataclass

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.migrations import Migration, MigrationStatus, MigrationType
from trimtab_fakecloud.servers import Flavor, Server
from trimtab_fakecloud.tokens import Token


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and in which request."""

    token: Token
    request_id: str


def open_migration(
    cloud: Cloud,
    server: Server,
    kind: MigrationType,
    status: MigrationStatus,
    caller: Caller,
    *,
    flavor: Flavor | None = None,
) -> Migration:
    """A new record; the destination is filled in when it is known."""
    if server.host is None:
        raise ValueError(f"server {server.id} is nowhere, so it cannot be moved")
    now = cloud.now()
    migration = Migration(
        number=cloud.migrations.next_number(),
        uuid=cloud.new_uuid(),
        type=kind,
        server_id=server.id,
        source=server.host,
        destination="",
        status=status,
        created_at=now,
        updated_at=now,
        old_flavor_id=server.flavor.id,
        new_flavor_id=(flavor or server.flavor).id,
        user_id=caller.token.user.id,
        project_id=caller.token.user.project_id,
        request_id=caller.request_id,
    )
    cloud.migrations.add(migration)
    return migration
