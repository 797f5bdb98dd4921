"""The file that names remote engines: read and checked here; see docs/scoring.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import jsonschema
import yaml

from trimtab_common.domain.errors import InvalidArgument
from trimtab_scoring.columns import Column

_COLUMN = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "unit": {"type": "string"},
    },
    "required": ["name"],
    "additionalProperties": False,
}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "datatype": {"type": "string", "minLength": 1},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1},
    },
    "required": ["name", "datatype", "shape"],
    "additionalProperties": False,
}
_ENGINE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 63},
        "description": {"type": "string"},
        "url": {"type": "string", "minLength": 1},
        "model": {"type": "string", "minLength": 1},
        "version": {"type": "string"},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 600},
        "retry_after_s": {"type": "number", "minimum": 0, "maximum": 3600},
        "max_rows": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "token_file": {"type": "string", "minLength": 1},
        "ca_file": {"type": "string", "minLength": 1},
        "features": {"type": "array", "items": _COLUMN, "minItems": 1},
        "scores": {"type": "array", "items": _COLUMN, "minItems": 1},
        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1},
        "outputs": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["name", "url", "features", "scores"],
    "additionalProperties": False,
}
_SCHEMA = {
    "type": "object",
    "properties": {"engines": {"type": "array", "items": _ENGINE}},
    "required": ["engines"],
    "additionalProperties": False,
}
_SCHEMES: Mapping[str, tuple[Literal["grpc", "http"], bool]] = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}


class RemoteFileRefused(InvalidArgument):
    """The file of remote engines cannot be used."""

    reason = "REMOTE_ENGINES_FILE_REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a model as its server declares it; -1 in the shape is any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSpec:
    """One remote engine, as an operator describes it.

    target: host:port for gRPC, the base URL for HTTP. inputs: instead of what the server says of
    them. outputs: which ones make the scores, in this order; empty for all. token_file: its text is
    sent as bearer token and read again for each connection.
    """

    name: str
    description: str
    protocol: Literal["grpc", "http"]
    target: str
    is_encrypted: bool
    model: str
    version: str = ""
    timeout_s: float = 5.0
    retry_after_s: float = 5.0
    max_rows: int = 1000
    headers: Mapping[str, str] = field(default_factory=dict)
    token_file: str | None = None
    ca_file: str | None = None
    features: tuple[Column, ...] = ()
    scores: tuple[Column, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def read(path: Path) -> tuple[RemoteSpec, ...]:
    """The engines of the file, none when there is no file.

    RemoteFileRefused, saying which line or member is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RemoteFileRefused(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RemoteFileRefused(f"{path} is not valid YAML: {error}.") from None
    try:
        jsonschema.validate(content, _SCHEMA)
    except jsonschema.ValidationError as error:
        where = "/".join(str(step) for step in error.absolute_path) or "the file"
        raise RemoteFileRefused(f"{path}: {where}: {error.message}.") from None
    specs = tuple(_spec(path, engine) for engine in content["engines"])
    names = [spec.name for spec in specs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise RemoteFileRefused(f"{path} names {', '.join(doubled)} twice.")
    return specs


def _spec(path: Path, engine: Mapping[str, Any]) -> RemoteSpec:
    values = dict(engine)
    url = urlsplit(values.pop("url"))
    try:
        port = url.port
    except ValueError as error:
        raise RemoteFileRefused(f"{path}: {values['name']}: url: {error}.") from None
    if url.scheme not in _SCHEMES or not url.hostname:
        raise RemoteFileRefused(
            f"{path}: {values['name']}: url must be grpc://, grpcs://, http:// or https:// and a host."
        )
    protocol, is_encrypted = _SCHEMES[url.scheme]
    if protocol == "grpc" and port is None:
        raise RemoteFileRefused(f"{path}: {values['name']}: a gRPC url needs a port.")
    values["features"] = tuple(Column(**column) for column in values["features"])
    values["scores"] = tuple(Column(**column) for column in values["scores"])
    values["inputs"] = tuple(
        Tensor(name=one["name"], datatype=one["datatype"], shape=tuple(one["shape"]))
        for one in values.get("inputs", ())
    )
    values["outputs"] = tuple(values.get("outputs", ()))
    values.setdefault("description", f"Remote engine {values['name']}")
    values.setdefault("model", values["name"])
    return RemoteSpec(
        protocol=protocol,
        is_encrypted=is_encrypted,
        target=url.netloc if protocol == "grpc" else url.geturl().rstrip("/"),
        **values,
    )
