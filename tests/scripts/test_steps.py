"""Set-up steps: done once, done again when a pin changes, clear about what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.local.errors import LocalError
from scripts.local.paths import LocalPaths, local_paths
from scripts.local.processes import run_logged
from scripts.local.setup.prepare import steps_for
from scripts.local.setup.steps import Step, ensure, is_done


@pytest.fixture
def paths(tmp_path: Path) -> LocalPaths:
    return LocalPaths(root=tmp_path, parts=tmp_path / "parts")


class Builder:
    """A step that counts how often it is built."""

    def __init__(self, paths: LocalPaths) -> None:
        self.output = paths.parts / "made"
        self.builds = 0

    def step(self, *inputs: str) -> Step:
        return Step(name="a part", inputs=inputs, outputs=(self.output,), build=self.build, hint="try again")

    def build(self) -> str:
        self.builds += 1
        self.output.touch()
        return "made"


def test_built_once(paths: LocalPaths) -> None:
    builder = Builder(paths)
    ensure(paths, [builder.step("pin==1")])
    ensure(paths, [builder.step("pin==1")])
    assert builder.builds == 1


def test_changed_pin_rebuilds(paths: LocalPaths) -> None:
    builder = Builder(paths)
    ensure(paths, [builder.step("pin==1")])
    ensure(paths, [builder.step("pin==2")])
    assert builder.builds == 2


def test_lost_output_rebuilds(paths: LocalPaths) -> None:
    builder = Builder(paths)
    ensure(paths, [builder.step()])
    builder.output.unlink()
    ensure(paths, [builder.step()])
    assert builder.builds == 2


def test_finished_steps_are_silent(paths: LocalPaths, capsys: pytest.CaptureFixture[str]) -> None:
    builder = Builder(paths)
    ensure(paths, [builder.step()])
    capsys.readouterr()
    ensure(paths, [builder.step()])
    assert capsys.readouterr() == ("", "")


def test_failure_names_step(paths: LocalPaths) -> None:
    step = Step(
        name="a part",
        inputs=(),
        outputs=(),
        build=lambda: run_logged(["sh", "-c", "echo why; exit 3"], paths.logs / "part.log"),
        hint="mend it",
    )
    with pytest.raises(LocalError) as caught:
        ensure(paths, [step])
    report = caught.value.report()
    assert "“a part”" in report
    assert "status 3" in report
    assert "| why" in report
    assert "mend it" in report
    assert not is_done(paths, step)


def test_missing_output_is_failure(paths: LocalPaths) -> None:
    step = Step(name="a part", inputs=(), outputs=(paths.parts / "absent",), build=lambda: "nothing", hint="")
    with pytest.raises(LocalError, match="without making absent"):
        ensure(paths, [step])


def test_failed_command_leaves_no_process(paths: LocalPaths, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(LocalError):
        run_logged(["sh", "-c", f"(sleep 1; touch {marker}) & exit 1"], paths.logs / "part.log")
    run_logged(["sleep", "1.3"], paths.logs / "wait.log")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("keys", ["tools"]),
        ("usage", ["tools", "wrangler"]),
        ("deploy", ["tools", "wrangler", "python modules"]),
        ("dev", ["tools", "wrangler", "python modules", "Pyodide bundle", "Python snapshot"]),
    ],
)
def test_command_prepares_what_it_needs(command: str, names: list[str]) -> None:
    assert [step.name for step in steps_for(local_paths(), command, [])] == names
