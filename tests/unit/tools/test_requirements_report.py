import pytest
import requirements_report as report

JUNIT = """<testsuites><testsuite>
<testcase name="good"><properties><property name="req" value="A-001"/></properties></testcase>
<testcase name="one of two passes"><properties><property name="req" value="A-002"/></properties></testcase>
<testcase name="the other fails"><properties><property name="req" value="A-002"/></properties><failure/></testcase>
<testcase name="skipped"><properties><property name="req" value="B-001"/></properties><skipped/></testcase>
<testcase name="bad teardown"><properties><property name="req" value="B-002"/></properties><error/></testcase>
<testcase name="typo"><properties><property name="req" value="A-999"/></properties></testcase>
</testsuite></testsuites>"""
IDS = ("A-001", "A-002", "B-001", "B-002", "C-001")


@pytest.fixture
def junit(tmp_path):
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    return path


def test_an_id_is_proved_only_by_a_pass_and_no_failure(junit):
    seen = report.judge(IDS, report.read_outcomes(junit))
    assert seen.proved == ("A-001",)
    assert seen.failing == ("A-002", "B-002")
    assert seen.unproved == ("B-001", "C-001")
    assert seen.unknown == ("A-999",)


def test_ids_are_read_from_the_first_column_of_the_requirement_pages(tmp_path):
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "one.md").write_text(
        "# A\nA-002 | x, see B-009 | y\nA-001 | z | y\n"
    )
    assert report.read_ids(tmp_path) == ("A-001", "A-002")


def test_the_committed_list_holds_every_area():
    assert {i[0] for i in report.read_ids(None)} == set(report.AREAS)


def test_a_run_that_names_an_unknown_id_is_an_error(junit, capsys, monkeypatch):
    monkeypatch.delenv("TRIMTAB_REFERENCE", raising=False)
    assert report.main(["--junit", str(junit)]) == 1
    assert "not a requirement: A-999" in capsys.readouterr().out


def test_without_a_run_it_says_what_to_do(tmp_path, capsys):
    assert report.main(["--junit", str(tmp_path / "none.xml")]) == 2
    assert "make test" in capsys.readouterr().out
