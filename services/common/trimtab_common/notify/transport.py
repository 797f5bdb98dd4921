"""Addresses of the message bus, as operators write them for oslo.messaging.

On the main path: the collector reads Nova's notifications from there, api sends ours to it.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode

from trimtab_common.domain.errors import InvalidArgument

_SCHEMES = {
    "rabbit": "amqp",
    "amqp": "amqp",
    "rabbit+ssl": "amqps",
    "rabbits": "amqps",
    "amqps": "amqps",
}
_PORTS = {"amqp": 5672, "amqps": 5671}


def amqp_urls(transport_url: str) -> tuple[str, ...]:
    """One AMQP URL for each host of an oslo.messaging transport URL. InvalidArgument.

    The errors do not repeat the URL, which holds a password.
    """
    scheme, separator, rest = transport_url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise InvalidArgument(
            f"transport_url begins with {scheme!r} instead of rabbit://, amqp:// or amqps://."
            if separator
            else "transport_url is no URL; it must begin with rabbit://, amqp:// or amqps://."
        )
    hosts, _, path = rest.partition("/")
    vhost, _, query = path.partition("?")
    options = dict(parse_qsl(query))
    wants_tls = options.pop("ssl", "0").lower() in ("1", "true")
    kind = "amqps" if wants_tls else _SCHEMES[scheme]
    tail = quote(unquote(vhost) or "/", safe="") + (f"?{urlencode(options)}" if options else "")
    urls = tuple(f"{kind}://{_with_port(host, kind)}/{tail}" for host in hosts.split(",") if host)
    if not urls:
        raise InvalidArgument("transport_url names no host.")
    return urls


def _with_port(host: str, kind: str) -> str:
    place = host.rpartition("@")[2]
    has_port = place.rpartition("]")[2].count(":") == 1
    return host if has_port else f"{host}:{_PORTS[kind]}"
