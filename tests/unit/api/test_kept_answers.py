"""The catalogue's answers are kept for a moment, and never for anybody who asks something else."""

from types import SimpleNamespace

import pytest

from trimtab_api.rest.catalogue import kept
from trimtab_api.settings import ApiSettings
from trimtab_common.runtime.clock import FakeClock


class Asked:
    """An endpoint that counts."""

    def __init__(self, *, keep_s=2.0):
        self.times = 0
        self.clock = FakeClock()
        self.endpoint = kept(self._answer)
        self._deps = SimpleNamespace(
            settings=ApiSettings(catalogue_cache_s=keep_s), clock=self.clock, kept_answers={}
        )

    async def _answer(self, _call):
        self.times += 1
        return f"answer {self.times}"

    async def __call__(self, path="/v1/goals", *, origin="http://a", minor=8, show_deleted=False):
        request = SimpleNamespace(raw_path=path, origin=origin)
        return await self.endpoint(
            SimpleNamespace(
                deps=self._deps, request=request, minor=minor, show_deleted=show_deleted
            )
        )


async def test_the_same_question_is_answered_once_a_moment():
    asked = Asked()
    assert [await asked(), await asked()] == ["answer 1", "answer 1"]
    await asked.clock.advance(2)
    assert await asked() == "answer 2"


@pytest.mark.parametrize(
    "other",
    [{"path": "/v1/goals?limit=1"}, {"origin": "http://b"}, {"minor": 1}, {"show_deleted": True}],
)
async def test_another_question_has_its_own_answer(other):
    asked = Asked()
    await asked()
    assert await asked(**other) == "answer 2"


async def test_nothing_is_kept_when_the_operator_says_so():
    asked = Asked(keep_s=0.0)
    assert [await asked(), await asked()] == ["answer 1", "answer 2"]


async def test_what_strangers_ask_does_not_grow_without_bound():
    asked = Asked()
    for number in range(1000):
        await asked(origin=f"http://{number}")
    assert len(asked._deps.kept_answers) <= 256
