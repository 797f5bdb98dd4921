import pytest

from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.store import migrate, open_store
from trimtab_common.store.store import SCHEMA_REVISION


def test_the_constant_names_the_newest_migration():
    assert migrate.head() == SCHEMA_REVISION


async def test_a_database_without_schema_is_refused_with_the_command_that_mends_it(tmp_path):
    with pytest.raises(FailedPrecondition, match="trimtab db upgrade"):
        await open_store(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
