"""How commands print: rich tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

console = Console(width=None if sys.stdout.isatty() else 120)
STATE_STYLE = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "ONGOING": "cyan",
    "RECOMMENDED": "bold",
}


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -o table|json."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        help="What to print.",
    )(command)


def as_dict(message: Message) -> dict[str, Any]:
    """A message as JSON-able values with proto field names, defaults included."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_rows(messages: Iterable[Message], columns: Sequence[str], form: str) -> None:
    """Messages as a table with these fields, or all of them as a JSON list."""
    rows = [as_dict(message) for message in messages]
    if form == "json":
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 1))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(cell(column, row.get(column)) for column in columns))
    console.print(table)


def print_one(message: Message, form: str) -> None:
    """One message: a line a field, or JSON."""
    row = as_dict(message)
    if form == "json":
        print_json(row)
        return
    table = Table(box=None, padding=(0, 1), show_header=False)
    for name, value in row.items():
        table.add_row(name, cell(name, value))
    console.print(table)


def print_event(message: Any, resource: Any, form: str, also: Sequence[str]) -> None:
    """One message of a stream as a line: time, uuid, state and the fields `also`; or as JSON."""
    if form == "json":
        click.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True)))
        return
    at = resource.updated_at if resource.HasField("updated_at") else resource.created_at
    told = [at.ToDatetime().strftime("%H:%M:%S"), resource.uuid, cell("state", resource.state)]
    told += [cell(name, getattr(resource, name)) for name in also]
    if message.WhichOneof("event") == "change":
        told.append(search_text(message.change))
    if resource.HasField("expected_end_at"):
        told.append(f"(until {resource.expected_end_at.ToDatetime():%H:%M:%S}?)")
    console.print(" ".join(filter(None, told)), soft_wrap=True)


def search_text(change: Any) -> str:
    """What a change tells of an audit's search, as a sentence; "" when it tells nothing."""
    if "search" not in change.DESCRIPTOR.fields_by_name or not change.HasField("search"):
        return ""
    found = change.search
    text = f"{found.measure} {found.incumbent:g} so far with {found.moves} moves"
    if found.HasField("bound"):
        text += f", none below {found.bound:g} (gap {found.gap_pct:.1f} %)"
    return f"{text}, after {found.seconds:.1f} s"


def cell(name: str, value: Any) -> str:
    """A value as table text; states in colour."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    if name == "state" and text in STATE_STYLE:
        return f"[{STATE_STYLE[text]}]{text}[/]"
    return text.replace("[", "\\[")
