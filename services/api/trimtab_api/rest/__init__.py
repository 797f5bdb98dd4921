"""Watcher's REST API: a pure core with two thin doors (`servicer` and `asgi`)."""

from trimtab_api.rest.core import RestApi
from trimtab_api.rest.request import RestRequest, RestResponse

__all__ = ["RestApi", "RestRequest", "RestResponse"]
