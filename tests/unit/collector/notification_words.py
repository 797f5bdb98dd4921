"""What events are expected to do, in the words of the requirements, and what they did, in ours."""

from __future__ import annotations

import dataclasses

from trimtab_common.domain.elements import ElementModel

UPSERT, REMOVE, NODE, GONE = "upsert server", "remove server", "upsert node", "remove node"
FLUX, REREAD, INDEX, GROUP = "mark in flux", "ask Nova again", "index of aggregates", "server group"
VOLUME, NO_VOLUME, POOL = "upsert volume", "remove volume", "capacities of pool"
NONE = "no change"

STORAGE = {
    "capacity.pool": POOL,
    "volume.delete.end": NO_VOLUME,
    **dict.fromkeys(
        [
            "volume.retype",
            *(
                f"volume.{kind}.end"
                for kind in ["create", "update", "attach", "detach", "resize", "revert"]
            ),
        ],
        VOLUME,
    ),
}
"""By event type of Cinder (C 6)."""

EXPECTED = {
    "instance.create.end": UPSERT,
    "instance.update": f"{UPSERT}, ignored while it builds, {REMOVE} once deleted",
    **dict.fromkeys(
        [
            "instance.lock",
            "instance.unlock",
            *(
                f"instance.{kind}.end"
                for kind in [
                    "pause",
                    "unpause",
                    "power_off",
                    "power_on",
                    "suspend",
                    "resume",
                    "shelve",
                    "rescue",
                    "unrescue",
                    "shutdown",
                    "unshelve",
                    "restore",
                    "rebuild",
                    "resize_confirm",
                    "live_migration_post_dest",
                    "live_migration_force_complete",
                    "resize_finish",
                    "resize_revert",
                    "shelve_offload",
                    "live_migration_rollback",
                    "live_migration_rollback_dest",
                    "live_migration_abort",
                    "reboot",
                ]
            ),
        ],
        UPSERT,
    ),
    "instance.delete.end": REMOVE,
    "instance.soft_delete.end": REMOVE,
    "service.create": NODE,
    "service.update": NODE,
    "service.delete": GONE,
    "instance.evacuate": f"{FLUX}, {REREAD}",
    "instance.rebuild_scheduled": FLUX,
    "instance.live_migration_pre.end": FLUX,
    "instance.resize_prep.end": FLUX,
    "instance.live_migration_post.end": REREAD,
    "instance.resize.end": REREAD,
    "instance.resize.error": REREAD,
    "instance.rebuild.error": REREAD,
    "instance.create.error": REREAD,
    "compute_task.migrate_server.error": REREAD,
    **dict.fromkeys(
        [
            f"aggregate.{kind}.end"
            for kind in [
                "create",
                "delete",
                "add_host",
                "remove_host",
                "update_metadata",
                "update_prop",
            ]
        ],
        INDEX,
    ),
    "server_group.create": GROUP,
    "server_group.add_member": GROUP,
    "server_group.delete": GROUP,
}
"""By event type (C 5). Every other type: no change."""


def done(model, before, wanted):
    """What became of a model, given the rows before and what is wanted of Nova."""
    words = []
    for kind, rows in rows_of(model).items():
        old = before[kind]
        for key in sorted(old.keys() | rows.keys(), key=str):
            if key not in rows:
                words.append(f"removes {kind}")
            elif key not in old:
                words.append(f"adds {kind}")
            elif rows[key] != old[key]:
                names = [
                    f.name
                    for f in dataclasses.fields(rows[key])
                    if getattr(rows[key], f.name) != getattr(old[key], f.name)
                ]
                words.append(f"{kind}: {' '.join(names)}")
    servers, hosts = wanted
    names = ("volume", "pool") if isinstance(model, ElementModel) else ("server", "node")
    words += [f"asks for {names[0]}"] * bool(servers) + [f"asks for {names[1]}"] * bool(hosts)
    return ", ".join(words) or "nothing"


def rows_of(model):
    """The rows of a model by kind and key."""
    if isinstance(model, ElementModel):
        return {kind: {row.key: row for row in model.rows(kind)} for kind in ("volume", "pool")}
    return {
        "server": {row.uuid: row for row in model.servers()},
        "node": {row.hostname: row for row in model.hosts()},
        "aggregate": {row.id: row for row in model.aggregates},
        "group": {row.uuid: row for row in model.groups()},
    }


FITS = {
    UPSERT: ("adds server", "server:", "nothing"),
    REMOVE: ("removes server", "nothing"),
    NODE: ("node:", "asks for node", "nothing"),
    GONE: ("removes node", "nothing"),
    FLUX: ("server: in_flux", "nothing"),
    REREAD: ("asks for server", "server: in_flux"),
    INDEX: ("adds aggregate", "removes aggregate", "aggregate:", "asks for node", "nothing"),
    GROUP: ("adds group", "removes group", "group:", "nothing"),
    VOLUME: ("adds volume", "volume:", "asks for pool", "nothing"),
    NO_VOLUME: ("removes volume", "asks for pool"),
    POOL: ("pool:", "asks for pool"),
    NONE: ("nothing",),
}


def fits(expected, made):
    """Whether every part of what was made is of a kind that was expected."""
    allowed = [
        start
        for word, starts in FITS.items()
        for start in starts
        if word in [part.removesuffix(" once deleted") for part in expected.split(", ")]
    ]
    beside = (
        "asks for server",
        "asks for node",
        "asks for volume",
    )  # an upsert may ask for what it does not know
    return all(part.startswith((*allowed, *beside)) for part in made.split(", "))
