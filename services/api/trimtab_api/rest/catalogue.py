"""Answers about goals and strategies, kept for a moment: they change only when plug-ins do.

Between route and endpoint. The record belongs to decision, so an answer here may be
`catalogue_cache_s` old; a dashboard that asks ten times a second costs one look a moment.
"""

from __future__ import annotations

from trimtab_api.rest.call import Call, Endpoint
from trimtab_api.rest.request import RestResponse

_MOST = 256


def kept(endpoint: Endpoint) -> Endpoint:
    """The same endpoint, asked seldom. For what is the same to every caller."""

    async def answer(call: Call) -> RestResponse:
        keep_s = call.deps.settings.catalogue_cache_s
        if keep_s <= 0:
            return await endpoint(call)
        answers = call.deps.kept_answers
        key = (call.request.raw_path, call.request.origin, call.minor, call.show_deleted)
        now = call.deps.clock.monotonic()
        known = answers.get(key)
        if known is not None and now < known[0]:
            response: RestResponse = known[1]
            return response
        response = await endpoint(call)
        if len(answers) >= _MOST:
            answers.clear()
        answers[key] = (now + keep_s, response)
        return response

    return answer
