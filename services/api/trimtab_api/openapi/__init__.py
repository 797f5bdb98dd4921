"""The OpenAPI 3.1 document of Watcher's REST API, made from the routes and the descriptions.

Nothing here is written twice: fields, types, lengths, filters and sort keys are those of
`trimtab_common.domain.resources`, paths those of `rest.routes`. Served at PATH by both doors, and
written by `trimtab openapi`.
"""

from trimtab_api.openapi.document import PATH, body, document

__all__ = ["PATH", "body", "document"]
