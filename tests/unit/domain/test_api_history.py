"""The page on microversions names what each version brought, and nothing else."""

import re
from pathlib import Path

import pytest

from trimtab_common.domain.resources import (
    BAREMETAL_MODEL,
    DATA_MODEL,
    MAX_MINOR,
    STORAGE_MODEL,
    STORED,
    Since,
)

PAGE = Path(__file__).parents[3] / "docs" / "rest-api-history.md"
SECTIONS = {
    int(minor): text
    for minor, text in re.findall(
        r"^## 1\.(\d+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
}
RESOURCES = (*STORED, DATA_MODEL, STORAGE_MODEL, BAREMETAL_MODEL)


@pytest.mark.req("A-022")
def test_every_microversion_has_its_section():
    assert list(SECTIONS) == list(range(MAX_MINOR + 1))


@pytest.mark.req("A-022")
def test_every_gated_field_stands_in_the_section_of_its_microversion():
    described = {
        (field.since, f"{resource.name}.{field.name}")
        for resource in RESOURCES
        for field in resource.fields
        if field.since
    }
    written = {
        (minor, name)
        for minor, text in SECTIONS.items()
        for name in re.findall(r"`(\w+\.\w+)`", text)
    }
    assert written == described


@pytest.mark.req("A-022")
def test_every_gated_feature_stands_in_the_section_of_its_microversion():
    written = {
        (minor, name)
        for minor, text in SECTIONS.items()
        for name in re.findall(r"\b[Ff]eature\s+([A-Z_]+)", text)
    }
    assert written == {(int(one), name) for name, one in Since.__members__.items()}


@pytest.mark.req("A-022")
def test_a_resource_is_patched_from_a_version_that_the_page_names():
    for resource in RESOURCES:
        assert resource.patch_since in (0, Since.PATCH_ACTIONS)
