"""The rules of the repository that a machine can hold: CONTRIBUTING.md, "Rules of the repository"."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
# Written in pieces, so that this file does not break its own rule.
INDEX_ADDRESS = re.compile(
    "pypi" + r"\.org|python" + r"hosted\.org|debian" + r"\.org/|npmjs" + r"\."
)
MACHINE_PATH = re.compile(
    "/" + r"work/(?:main|wt|shared)\b|/" + r"root/|/tmp/" + r"(?:brief|uvv)\b"
)


def name_of(requirement):
    return re.split(r"[<>=!~\[ ;]", requirement, maxsplit=1)[0].lower().replace(".", "-")


def direct_dependencies():
    project = PROJECT["project"]
    yield from project["dependencies"]
    for extra in project["optional-dependencies"].values():
        yield from extra
    yield from (entry for entry in PROJECT["dependency-groups"]["dev"] if isinstance(entry, str))


def tracked_files():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("requirement", sorted(set(direct_dependencies())))
def test_a_dependency_is_pinned(requirement):
    pinned = {name_of(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert name_of(requirement) in pinned


@pytest.mark.parametrize("requirement", sorted(set(direct_dependencies())))
def test_a_dependency_says_why_it_is_here(requirement):
    page = (ROOT / "docs" / "adr" / "0012-dependencies.md").read_text().lower().replace(".", "-")
    name = name_of(requirement)
    family = {"grpcio": "-", "pytest": "-"}.get(name.partition("-")[0])
    short = f"-{name.partition('-')[2]}" if family and "-" in name else name
    assert name in page or short in page or (name.startswith("types-") and "types-*" in page)


@pytest.mark.parametrize("page", sorted(p.relative_to(ROOT) for p in ROOT.glob("*.md")), ids=str)
def test_links_of_the_front_pages_lead_somewhere(page):
    assert not dead_links(ROOT / page)


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT) for p in (ROOT / "docs").rglob("*.md")), ids=str
)
def test_links_of_the_docs_lead_somewhere(page):
    assert not dead_links(ROOT / page)


def dead_links(page):
    return [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]


def test_no_generated_code_and_no_lock_file_is_committed():
    names = [path.name for path in tracked_files()]
    assert not [n for n in names if "_pb2" in n or n.endswith(".lock") or n.startswith("pylock")]


def test_no_file_names_a_package_index_or_a_path_of_one_machine():
    guilty = {}
    for path in tracked_files():
        if not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        if found := INDEX_ADDRESS.findall(text) + MACHINE_PATH.findall(text):
            guilty[str(path.relative_to(ROOT))] = found
    assert not guilty
