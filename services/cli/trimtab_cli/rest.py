"""A small REST client for what the demo does as an operator would: through Envoy, as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

TIMEOUT_S = 30.0
POLL_S = 0.1


class RestError(Exception):
    """An answer that was not 2xx, with the API's own text."""


class RestClient:
    """Speaks microversion `latest` to one base URL. `token`: Keystone's, where the API wants one."""

    def __init__(self, base_url: str, *, token: str | None = None) -> None:
        self._http = httpx.Client(
            base_url=base_url,
            timeout=TIMEOUT_S,
            headers={
                "OpenStack-API-Version": "infra-optim latest",
                "X-Auth-Token": token or "none",
            },
        )

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def get(self, path: str) -> Any:
        """The JSON of GET `path`."""
        return self._answer(self._http.get(path))

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of POST `path`."""
        return self._answer(self._http.post(path, json=body or {}))

    def wait(
        self,
        path: str,
        done: Callable[[Any], bool],
        *,
        timeout_s: float,
        seen: Callable[[Any], None] = lambda _: None,
    ) -> Any:
        """Polls `path` until `done`, showing each answer to `seen`. RestError past the limit."""
        deadline = time.monotonic() + timeout_s
        while True:
            body = self.get(path)
            seen(body)
            if done(body):
                return body
            if time.monotonic() > deadline:
                raise RestError(f"{path} did not get there within {timeout_s:.0f} s: {body}")
            time.sleep(POLL_S)

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        if response.is_success:
            return response.json() if response.content else None
        try:
            fault = json.loads(response.json()["error_message"])["faultstring"]
        except (ValueError, KeyError, TypeError):
            fault = response.text
        raise RestError(f"{response.request.method} {response.request.url}: {fault}")
