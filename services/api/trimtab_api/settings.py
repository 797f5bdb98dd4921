"""The [api], [cors] and [keystone_authtoken] sections, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

from trimtab_api.outbox.settings import GROUPS as OUTBOX_GROUPS

API_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt(
        "auth",
        default="keystone",
        choices=["none", "keystone"],
        help="Who may call: anybody (none), or holders of Keystone tokens that the policy allows.",
    ),
    cfg.BoolOpt(
        "enable_authentication", default=True, help="False is another way to say auth = none."
    ),
    cfg.IntOpt("max_limit", default=1000, min=1, help="Most items that one listing answers."),
    cfg.BoolOpt(
        "enable_webhooks_auth",
        default=True,
        help="Ask for a token on POST /v1/webhooks too.",
    ),
    cfg.IntOpt(
        "max_body_bytes", default=4 * 1024 * 1024, min=1024, help="Larger requests get 413."
    ),
    cfg.IntOpt(
        "service_down_time",
        default=90,
        min=1,
        help="Seconds without a heartbeat after which a service counts as FAILED.",
    ),
    cfg.FloatOpt(
        "catalogue_cache_time",
        default=2.0,
        min=0.0,
        max=60.0,
        help="Seconds an answer about goals and strategies is kept; they change with plug-ins only.",
    ),
    cfg.IntOpt(
        "max_stream_age",
        default=3600,
        min=1,
        help="Seconds after which a Watch stream ends; its client resumes with a good token.",
    ),
    cfg.BoolOpt(
        "enable_proxy_headers_parsing",
        default=False,
        help="The HTTP door believes X-Forwarded-Proto and X-Forwarded-Host. "
        "Only right behind a proxy that overwrites them.",
    ),
]
CORS_OPTS: Sequence[cfg.Opt] = [
    cfg.ListOpt(
        "allowed_origin",
        default=[],
        help="Origins of web pages that may call the API; * allows every one.",
    ),
]
KEYSTONE_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt(
        "www_authenticate_uri",
        help="Where callers without a token are told to get one; default: where api gets its own.",
    ),
    cfg.IntOpt(
        "token_cache_time",
        default=60,
        min=0,
        help="Seconds a good token is remembered; a revoked one works that long at most.",
    ),
]
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {
    "api": API_OPTS,
    "cors": CORS_OPTS,
    "keystone_authtoken": KEYSTONE_OPTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """What the operator decided about the public face."""

    auth: Literal["none", "keystone"] = "none"
    www_authenticate_uri: str | None = None
    token_cache_s: int = 60
    max_limit: int = 1000
    enable_webhooks_auth: bool = True
    max_body_bytes: int = 4 * 1024 * 1024
    service_down_time_s: int = 90
    catalogue_cache_s: float = 0.0
    max_stream_age_s: float = 3600.0
    trust_forwarded_headers: bool = False
    cors_allowed_origins: tuple[str, ...] = ()
    debug: bool = False

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts, *, debug: bool) -> ApiSettings:
        """Freezes the sections."""
        return cls(
            auth=conf.api.auth if conf.api.enable_authentication else "none",
            www_authenticate_uri=conf.keystone_authtoken.www_authenticate_uri,
            token_cache_s=conf.keystone_authtoken.token_cache_time,
            max_limit=conf.api.max_limit,
            enable_webhooks_auth=conf.api.enable_webhooks_auth,
            max_body_bytes=conf.api.max_body_bytes,
            service_down_time_s=conf.api.service_down_time,
            catalogue_cache_s=conf.api.catalogue_cache_time,
            max_stream_age_s=conf.api.max_stream_age,
            trust_forwarded_headers=conf.api.enable_proxy_headers_parsing,
            cors_allowed_origins=tuple(conf.cors.allowed_origin),
            debug=debug,
        )


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator: every option of this service."""
    return list({**GROUPS, **OUTBOX_GROUPS}.items())
