import cloud_tests
import pytest


class Machine:
    """A folder with tests and a cloud, and the commands that were run on it."""

    def __init__(self, folder, *, exit_code=0):
        self.tests = folder / "tests"
        self.cloud = folder / "cloud"
        self.commands = []
        self.exit_code = exit_code
        self.tests.mkdir()
        self.cloud.mkdir()
        (self.cloud / "up").touch()
        (self.tests / "test_one.py").touch()

    def run(self, *command):
        self.commands.append(command)
        return self.exit_code

    def main(self, size):
        return cloud_tests.main([size], tests=self.tests, run=self.run)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TRIMTAB_REFERENCE", str(tmp_path))
    monkeypatch.delenv("TRIMTAB_KEEP_CLOUD", raising=False)


def test_without_tests_it_says_so_and_starts_nothing(tmp_path, capsys):
    machine = Machine(tmp_path)
    (machine.tests / "test_one.py").unlink()
    assert machine.main("smoke") == 0
    assert "no cloud test yet" in capsys.readouterr().out
    assert machine.commands == []


def test_with_tests_but_no_cloud_to_start_it_fails(tmp_path, monkeypatch, capsys):
    machine = Machine(tmp_path)
    monkeypatch.delenv("TRIMTAB_REFERENCE")
    assert machine.main("all") == 1
    assert "TRIMTAB_REFERENCE" in capsys.readouterr().out
    assert machine.commands == []


def test_the_cloud_it_brings_up_is_taken_down(tmp_path):
    machine = Machine(tmp_path)
    assert machine.main("smoke") == 0
    assert machine.commands[0] == (machine.cloud / "up", "6")
    assert "pytest" in machine.commands[2]
    assert machine.commands[-1] == (machine.cloud / "down",)


def test_a_cloud_that_does_not_come_up_fails_the_run_and_is_taken_down(tmp_path):
    machine = Machine(tmp_path, exit_code=3)
    assert machine.main("smoke") == 3
    assert [command[0].name for command in machine.commands] == ["up", "down"]
