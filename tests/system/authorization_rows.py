"""The rows of tests/golden/authorization.txt: found in the routes and the protos, never listed.

Every .proto file below protos/ counts, so a new service cannot be forgotten here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor import MethodDescriptor

from trimtab_api.rest.routes import IDENT, ROUTES

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "golden" / "authorization.txt"
Row = tuple[str, str, str]
"""Door, method or -, path or RPC."""


def methods() -> Iterator[MethodDescriptor]:
    """Every RPC of every .proto file of this repository."""
    folder = ROOT / "protos"
    for path in sorted(folder.rglob("*.proto")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts)
        descriptor = importlib.import_module(f"{name}_pb2").DESCRIPTOR
        for service in descriptor.services_by_name.values():
            yield from service.methods


def rest_rows() -> Iterator[tuple[str, str]]:
    yield "GET", "/"
    yield "GET", "/trimtab/v1/openapi.json"
    for route in ROUTES:
        yield route.method, "/".join(("", "v1", *route.path)).replace(IDENT, "{ident}")


def transcoded_rows() -> Iterator[tuple[str, str]]:
    """Of the typed services: each way in that the edge transcodes, the additional ones too."""
    for method in methods():
        if method.containing_service.full_name.startswith("trimtab.rest."):
            continue
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        for one in (rule, *rule.additional_bindings):
            verb = one.WhichOneof("pattern")
            if verb:
                yield verb.upper(), getattr(one, verb)


def rows() -> list[Row]:
    """Everything that somebody may ask of."""
    return [
        *(("rest", *row) for row in rest_rows()),
        *(("http", *row) for row in transcoded_rows()),
        *(("grpc", "-", f"{m.containing_service.full_name}/{m.name}") for m in methods()),
    ]


def written(text: str) -> dict[Row, list[str]]:
    """The reviewed table: row -> cells."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "door")):
            door, method, path, *cells = line.split()
            found[door, method, path] = cells
    return found


def without_row(text: str) -> set[Row]:
    """Doors that the table does not name."""
    return set(rows()) - written(text).keys()


def without_door(text: str) -> set[Row]:
    """Rows of doors that are gone."""
    return written(text).keys() - set(rows())
