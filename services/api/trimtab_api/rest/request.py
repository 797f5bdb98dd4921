"""What goes into and comes out of the pure REST core; both doors translate to and from these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from trimtab_common.domain.errors import InvalidArgument

VERSION_SEGMENT = "v1"


def folded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case; a header that came again is one, its values joined (RFC 9110 §5.3)."""
    result: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        result[key] = f"{result[key]}, {value}" if key in result else value
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One HTTP request as the client sent it.

    `raw_path`: path and query, still percent-encoded. `headers`: names in lower case.
    `origin`: scheme and authority as the client sees them, for links.
    """

    method: str
    raw_path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    origin: str = "http://127.0.0.1:9322"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestResponse:
    """One HTTP answer. Header names are in lower case; content-type is among them."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    chunks: tuple[bytes, ...] = ()

    @property
    def body(self) -> bytes:
        """All chunks as one."""
        return b"".join(self.chunks)

    def header(self, name: str, default: str = "") -> str:
        """The first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parsed path: decoded segments below the version, and the query parameters.

    Empty segments are dropped (clients send doubled and trailing slashes, A-004) and a path
    without a known version counts as /v1 (A-003), so `is_root` is true for `/` only.
    """

    segments: tuple[str, ...]
    query: Mapping[str, str]
    is_root: bool


def parse_target(raw_path: str) -> Target:
    """Splits before it decodes, so that %2F stays inside its identifier (A-005)."""
    path, _, query = raw_path.partition("?")
    segments = [unquote(part, errors="replace") for part in path.split("/") if part]
    is_root = not segments
    if segments and segments[0] == VERSION_SEGMENT:
        segments = segments[1:]
    return Target(segments=tuple(segments), query=_parameters(query), is_root=is_root)


def _parameters(query: str) -> dict[str, str]:
    pairs: Iterable[tuple[str, str]]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=100)
    except ValueError:
        raise InvalidArgument("Too many query parameters.") from None
    return dict(pairs)
