"""What the doctor finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fakeclf import doctor
from fakeclf.cli.main import main


def test_findings_are_of_this_machine(data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    found = doctor.examine()
    assert found.versions["tensorflow"] == tf.__version__
    assert any(device.startswith("CPU") for device in found.devices)
    assert found.cores >= 1
    assert found.data["path"] == str(data_home) and found.data["free"] > 0
    assert not data_home.exists(), "looking must not make folders"
    text = doctor.to_text(found)
    for part in ("versions", "devices TensorFlow can use", "cores", str(data_home)):
        assert part in text
    json.dumps(found.to_json())


def test_a_broken_bundle_and_a_bad_data_folder_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "saved_models" / "broken").mkdir(parents=True)
    (tmp_path / "saved_models" / "broken" / "card.json").write_text("{")
    (tmp_path / "a-file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAKECLF_DATA", str(tmp_path / "a-file" / "data"))
    assert main(["doctor", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any("broken" in problem for problem in problems)
    assert any("FAKECLF_DATA" in problem for problem in problems)


@pytest.mark.parametrize(
    ("line", "always", "gpu"),
    [
        ("numpy>=2", True, False),
        ('keras>=3; python_version >= "3.11"', True, False),
        ('nothing; python_version < "3"', False, False),
        ('tensorflow[and-cuda]; extra == "gpu"', False, True),
        ('pytest; extra == "test"', False, False),
    ],
)
def test_what_an_extra_asks_for(line: str, always: bool, gpu: bool) -> None:
    assert doctor._wanted_by(Requirement(line), "") is always
    assert doctor._wanted_by(Requirement(line), "gpu") is gpu


def test_parts_that_an_extra_of_a_dependency_adds() -> None:
    lacking = doctor._lacking_parts(Requirement("tensorflow[and-cuda]"))
    assert lacking == [] or all(name.startswith("nvidia-") for name in lacking)
