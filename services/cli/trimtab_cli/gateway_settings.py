"""Where operators' files say that the public door is: Watcher's `[api]` and oslo.service's `[ssl]`.

Only `trimtab gateway` reads them: the edge is the public door (A-033).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from trimtab_cli.gateway import GatewaySettings

API_OPTS: Sequence[cfg.Opt] = [
    cfg.HostAddressOpt("host", default="127.0.0.1", help="Address on which the edge listens."),
    cfg.PortOpt("port", default=9322, help="Port on which the edge listens."),
    cfg.BoolOpt(
        "enable_ssl_api", default=False, help="The edge speaks TLS, with the files of [ssl]."
    ),
]
SSL_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt("cert_file", help="Certificate of the edge and its chain, PEM."),
    cfg.StrOpt("key_file", help="Private key of that certificate, PEM."),
    cfg.StrOpt("ca_file", help="If set, clients need a certificate of one of these authorities."),
]


class GatewayRefused(Exception):
    """The files ask for what cannot be; the text says what to do."""


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator."""
    return [("api", API_OPTS), ("ssl", SSL_OPTS)]


def from_files(paths: Sequence[Path]) -> GatewaySettings:
    """Bind address, port and TLS as these files say; without any, the defaults. GatewayRefused."""
    conf = cfg.ConfigOpts()
    for group, options in list_opts():
        conf.register_opts(options, group=group)
    try:
        conf([], default_config_files=[str(path) for path in paths], default_config_dirs=[])
        settings = GatewaySettings(bind=conf.api.host, port=conf.api.port)
        if not conf.api.enable_ssl_api:
            return settings
        return with_tls(
            settings,
            cert_file=conf.ssl.cert_file,
            key_file=conf.ssl.key_file,
            ca_file=conf.ssl.ca_file,
        )
    except cfg.Error as error:
        raise GatewayRefused(f"The settings cannot be read: {error}") from error


def with_tls(
    settings: GatewaySettings, *, cert_file: str | None, key_file: str | None, ca_file: str | None
) -> GatewaySettings:
    """The same with TLS. GatewayRefused when a file is not named, or not there."""
    for name, path in (("cert_file", cert_file), ("key_file", key_file)):
        if not path:
            raise GatewayRefused(f"TLS needs a certificate and its key: set [ssl] {name}.")
    for name, path in (("cert_file", cert_file), ("key_file", key_file), ("ca_file", ca_file)):
        if path and not Path(path).is_file():
            raise GatewayRefused(f"[ssl] {name} names {path}, which is no file.")
    return dataclasses.replace(
        settings, cert_file=cert_file or "", key_file=key_file or "", ca_file=ca_file or ""
    )
