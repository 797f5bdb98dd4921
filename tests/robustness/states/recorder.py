"""The histories of all states, kept by the database itself, and the rules of requirements A §5.

Triggers write each change of a state down, so nothing that the code under test does or forgets can
hide one. The rules are written from the requirements, not taken from `domain/lifecycle.py`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

import sqlalchemy as sa

from trimtab_common.store import Store, tables

Pair = tuple[str, str]
Histories = Mapping[tuple[str, str], list[Pair]]

TABLES = {"audit": "audits", "action_plan": "action_plans", "action": "actions"}
HISTORY = sa.Table(
    "state_history",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16)),
    sa.Column("object", sa.String(36)),
    sa.Column("old", sa.String(20)),
    sa.Column("new", sa.String(20)),
)


def _pairs(text: str) -> frozenset[Pair]:
    """``A>B C`` is A to B and A to C."""
    found = set()
    for line in text.strip().splitlines():
        source, _, targets = line.strip().partition(">")
        found |= {(source.strip(), target) for target in targets.split()}
    return frozenset(found)


LEGAL: Mapping[str, frozenset[Pair]] = {
    "audit": _pairs(
        """
        PENDING > ONGOING CANCELLED SUCCEEDED FAILED
        ONGOING > SUCCEEDED FAILED CANCELLED SUSPENDED
        SUSPENDED > ONGOING CANCELLED DELETED
        SUCCEEDED > ONGOING DELETED
        FAILED > DELETED
        CANCELLED > DELETED
        """
    ),
    "action_plan": _pairs(
        """
        RECOMMENDED > SUCCEEDED PENDING SUPERSEDED CANCELLED DELETED
        PENDING > ONGOING CANCELLED FAILED
        ONGOING > SUCCEEDED FAILED CANCELLING CANCELLED
        CANCELLING > CANCELLED FAILED
        SUCCEEDED > DELETED
        FAILED > DELETED
        SUPERSEDED > DELETED
        CANCELLED > DELETED
        """
    ),
    "action": _pairs(
        """
        PENDING > SKIPPED FAILED ONGOING CANCELLED DELETED
        ONGOING > SUCCEEDED FAILED CANCELLING CANCELLED
        CANCELLING > CANCELLED SUCCEEDED FAILED
        SUCCEEDED > DELETED
        FAILED > DELETED
        CANCELLED > DELETED
        SKIPPED > DELETED
        """
    ),
}
FIRST = {"audit": {"PENDING"}, "action_plan": {"RECOMMENDED"}, "action": {"PENDING"}}
AT_MOST_ONCE = {("action_plan", "ONGOING"), ("action", "ONGOING")}
"""Nothing is carried out twice, whoever took it over."""


async def record(store: Store) -> None:
    """Has the database keep the history from now on."""
    async with store.write() as session:
        await session.execute(sa.schema.CreateTable(HISTORY))
        for statement in _triggers(store.dialect):
            await session.execute(sa.text(statement))


def _triggers(dialect: str) -> list[str]:
    statements = []
    if dialect == "postgresql":
        for kind, table in TABLES.items():
            statements += [
                f"""CREATE FUNCTION keep_{kind}() RETURNS trigger AS $$ BEGIN
                    IF TG_OP = 'INSERT' THEN
                      INSERT INTO state_history (kind, object, old, new)
                      VALUES ('{kind}', NEW.uuid, '', NEW.state);
                    ELSIF TG_OP = 'DELETE' THEN
                      INSERT INTO state_history (kind, object, old, new)
                      VALUES ('{kind}', OLD.uuid, OLD.state, '');
                    ELSIF OLD.state <> NEW.state THEN
                      INSERT INTO state_history (kind, object, old, new)
                      VALUES ('{kind}', NEW.uuid, OLD.state, NEW.state);
                    END IF; RETURN NEW; END $$ LANGUAGE plpgsql""",
                (
                    f"CREATE TRIGGER keep_{kind} AFTER INSERT OR UPDATE OR DELETE ON {table} "
                    f"FOR EACH ROW EXECUTE FUNCTION keep_{kind}()"
                ),
            ]
        return statements
    for kind, table in TABLES.items():
        insert = "INSERT INTO state_history (kind, object, old, new) VALUES"
        made = f"{insert} ('{kind}', NEW.uuid, '', NEW.state)"
        moved = f"{insert} ('{kind}', NEW.uuid, OLD.state, NEW.state)"
        gone = f"{insert} ('{kind}', OLD.uuid, OLD.state, '')"
        head = f"CREATE TRIGGER keep_{{}}_{kind} AFTER {{}} ON {table} FOR EACH ROW"
        if dialect == "sqlite":
            statements += [
                f"{head.format('new', 'INSERT')} BEGIN {made}; END",
                f"{head.format('gone', 'DELETE')} BEGIN {gone}; END",
                f"{head.format('old', 'UPDATE')} WHEN OLD.state <> NEW.state BEGIN {moved}; END",
            ]
        else:
            statements += [
                f"{head.format('new', 'INSERT')} {made}",
                f"{head.format('gone', 'DELETE')} {gone}",
                (
                    f"{head.format('old', 'UPDATE')} BEGIN "
                    f"IF OLD.state <> NEW.state THEN {moved}; END IF; END"
                ),
            ]
    return statements


async def histories(store: Store) -> Histories:
    """What happened to each object, in order; its making is ('', first state).

    A plan of which only a part was stored is removed and stored anew: nobody ever saw the first.
    Whatever else is removed keeps its row ('state', ''), which is illegal.
    """
    found: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    async with store.read() as session:
        rows = await session.execute(sa.select(HISTORY).order_by(HISTORY.c.id))
        for row in rows:
            steps = found[row.kind, row.object]
            if row.new == "" and len(steps) == 1:
                steps.clear()
            else:
                steps.append((row.old, row.new))
    return {key: steps for key, steps in found.items() if steps}


async def announced(store: Store) -> Histories:
    """What the notifications say happened."""
    found: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    outbox = tables.outbox
    columns = (outbox.c.event_type, outbox.c.object_uuid, outbox.c.payload)
    async with store.read() as session:
        for row in await session.execute(sa.select(*columns).order_by(outbox.c.id)):
            kind, _, what = row.event_type.partition(".")
            if kind not in TABLES or what not in ("update", "create"):
                continue
            payload = json.loads(row.payload) if isinstance(row.payload, str) else row.payload
            data = payload["nova_object.data"] if "nova_object.data" in payload else _data(payload)
            if what == "create":
                found[kind, row.object_uuid].append(("", data["state"]))
                continue
            update = _data(data["state_update"])
            if update["old_state"] is not None and update["old_state"] != update["state"]:
                found[kind, row.object_uuid].append((update["old_state"], update["state"]))
    return found


def _data(wrapped: dict[str, object]) -> dict[str, str]:
    (key,) = [key for key in wrapped if key.endswith(".data")]
    return wrapped[key]  # type: ignore[return-value]


def illegal(found: Histories) -> list[str]:
    """Every history that the rules do not allow, in words."""
    wrong = []
    for (kind, name), steps in found.items():
        state = ""
        seen: set[str] = set()
        for old, new in steps:
            if old != state:
                wrong.append(f"{kind} {name} was {state or 'not there'}, moved from {old} to {new}")
            elif old == "":
                if new not in FIRST[kind]:
                    wrong.append(f"{kind} {name} began as {new}")
            elif (old, new) not in LEGAL[kind]:
                wrong.append(f"{kind} {name} moved from {old} to {new}")
            if new in seen and (kind, new) in AT_MOST_ONCE:
                wrong.append(f"{kind} {name} became {new} twice")
            seen.add(new)
            state = new
    return wrong


def reached(found: Histories) -> dict[str, set[Pair]]:
    """The transitions that happened."""
    pairs: dict[str, set[Pair]] = {kind: set() for kind in TABLES}
    for (kind, _), steps in found.items():
        pairs[kind] |= {pair for pair in steps if pair[0]}
    return pairs
