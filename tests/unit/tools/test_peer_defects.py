"""docs/peer-defects.md names, for each documented defect of the peer, tests that exist and claim it."""

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
PAGE = (TESTS.parent / "docs" / "peer-defects.md").read_text()
ROW = re.compile(r"^\| (B-\d{3}) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
NOT_BUILT = set(re.findall(r"B-\d{3}", PAGE.partition("## Not built")[2].partition("## ")[0]))
ROWS = {row[0]: NAMED.findall(row[2]) for row in ROW.findall(PAGE)}
TAG = re.compile(r"^(B-\d{3}) \|.*(?:\[FIX|\[NEVER|\[S[]:])", re.MULTILINE)


@cache
def marks_of(path):
    """Test -> the requirements that it claims."""
    found = {}
    for node in ast.walk(ast.parse((TESTS / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = {
                argument.value
                for mark in node.decorator_list
                if isinstance(mark, ast.Call) and getattr(mark.func, "attr", "") == "req"
                for argument in mark.args
            }
    return found


@pytest.mark.parametrize("requirement", sorted(ROWS))
def test_each_defect_has_a_test_that_claims_it(requirement):
    assert ROWS[requirement]
    for path, name in ROWS[requirement]:
        assert requirement in marks_of(path)[name], f"{path}::{name} does not claim {requirement}"


def test_every_test_that_the_page_names_exists():
    assert all(name in marks_of(path) for path, name in NAMED.findall(PAGE))


def test_no_tagged_line_of_the_catalogue_is_missing():
    reference = os.environ.get("TRIMTAB_REFERENCE")
    if not reference:
        pytest.skip("TRIMTAB_REFERENCE names no reference folder.")
    catalogue = Path(reference) / "requirements" / "strategies-and-actions.md"
    tagged = set(TAG.findall(catalogue.read_text()))
    assert len(tagged) > 50
    assert tagged - set(ROWS) - NOT_BUILT == set()
