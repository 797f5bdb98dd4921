"""The root conftest, tried in a pytest of its own: what a missing service does to a run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
NOBODY = "127.0.0.1:1"  # tcpmux: nothing listens there
TESTS = """
import pytest

@pytest.mark.req("A-001", "B-001")
def test_marked(): pass

def test_broker(rabbitmq_url): pass

def test_database(postgres_url): pass
"""


def run(folder, **environment):
    shutil.copy(CONFTEST, folder)
    (folder / "test_inner.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  req(*ids): ids\n")
    clean = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("TRIMTAB_")}
    clean |= {
        "TRIMTAB_TEST_RABBITMQ_URL": f"amqp://guest:secret@{NOBODY}/",
        "TRIMTAB_TEST_POSTGRES_URL": f"postgresql+asyncpg://somebody:secret@{NOBODY}/test",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "--junitxml=out.xml", "-p", "no:cacheprovider"],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    """A run outside CI, and its folder."""
    folder = tmp_path_factory.mktemp("laptop")
    return run(folder), folder


def test_a_missing_service_skips_and_is_named_at_the_end(laptop):
    done, _ = laptop
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout.splitlines()[-1]
    assert f"RabbitMQ {NOBODY}: no answer" in done.stdout
    assert f"PostgreSQL {NOBODY}: no answer" in done.stdout
    assert "MariaDB 127.0.0.1:3306: not asked for (0 tests want it)" in done.stdout
    assert "secret" not in done.stdout


def test_a_missing_service_fails_in_ci(tmp_path):
    done = run(tmp_path, CI="true")
    assert done.returncode == 1
    assert "1 passed, 2 errors" in done.stdout.splitlines()[-1]


def test_requirement_marks_reach_the_junit_file(laptop):
    _, folder = laptop
    case = ET.parse(folder / "out.xml").find(".//testcase[@name='test_marked']")
    assert [p.get("value") for p in case.iter("property")] == ["A-001", "B-001"]


def test_a_session_has_its_own_postgres_database(postgres_url):
    assert "/trimtab_test_" in postgres_url


def test_a_session_has_its_own_mariadb_database(mariadb_url):
    assert "/trimtab_test_" in mariadb_url
