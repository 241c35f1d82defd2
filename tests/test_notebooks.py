"""The notebooks run from top to bottom on their small settings, show what they are for, and leave nothing behind."""

from __future__ import annotations

import ast
import os
import re
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient

from fakeclf import images

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SETTING = "FAKECLF_NOTEBOOK_SMALL"

# What stands in the printed output of each notebook, and how many pictures it shows.
SHOWN = {
    "01_data_and_audit": (
        [
            r"(?m)^sample +a few hundred crops",
            r"sample: \d+ FAKE and \d+ REAL; headers of 50 \+ 50 read",
            r"Nothing but the pictures themselves tells the classes apart",
            r"warning: JPEG tables alone tells the classes with balanced accuracy 1\.00 \(FAKE: quality 75",
            r"identical files: 1 in both classes",
            r"(?m)^jpeg:50 .* JPEG quality   50 ",
            r"cifake: 8 FAKE and 8 REAL",
        ],
        2,
    ),
    "02_train_a_classifier": (
        [
            r"(?m)^epochs: 2$",
            r"epoch 2: .*val_loss",
            r"on sample \(validation\), 138 pictures",
            r"first on sample \(test\), 214 pictures",
            r"limit: trained on crops of a handful of photographs",
            r"(?m)^FAKE  P\(FAKE\) [01]\.\d{3}  .*\n(.*\n)*REAL  P\(FAKE\) [01]\.\d{3}  ",
            r"(?m)^dataset: cifake$",
            r"cifake, test: accuracy 0\.97",
        ],
        5,
    ),
    "03_ensemble_and_tuning": (
        [
            r"both on sample \(test\), 214 pictures",
            r"Beside its members, on the same pictures:\n(.*\n)both .*\nnarrow .*\nwide ",
            r"(?m)^member narrow [0-9a-f]{12}\nmember wide [0-9a-f]{12}$",
            r"trial 2/2: loss \d(.*\n)+trial 2/2: loss \d",  # the head's search and the classifier's
            r"settings: \{'optimizer.learning_rate'",
            r"model +accuracy .*\nnarrow +0\.\d.*\nwide +0\.\d.*\nboth +0\.\d.*\ntuned +0\.\d",
        ],
        1,
    ),
    "04_forge_and_train_a_localizer": (
        [
            r"small-autoencoder +8 pairs.*\nbiharmonic +8 pairs.*\npatch +8 pairs",
            r"(.*: 0 pixels differ outside the mask\n){3}",
            r"epoch 2: .*val_iou",
            r"generators: seen in training: biharmonic, small-autoencoder; not: patch",
            r"on forged \(test\), 6 forged and 6 pristine pictures",
            # The shipped localizer finds a fill that it knows, which a training of four steps does not.
            r"this IoU .*\nbiharmonic +0\.[0-4]\d* +\S+ +0\.[7-9]",
        ],
        3,
    ),
    "05_detect_calibrate_explain": (
        [
            r"untouched: (fake|real|unsure|cannot tell), P\(FAKE\)",
            r"forged: (fake|real|unsure|cannot tell), P\(FAKE\)",
            r"iou 0\.[7-9]",
            r"forged: (stable|flips|None), flips after (.*\n)  jpeg:95 ",
            r"FAKE: \d+% of the picture above half of the highest value",
            r"calibrated on sample \(validation\), 138 pictures: 69 FAKE, 69 REAL",
            r"ECE on test pictures: 0\.\d{4} before, 0\.\d{4} after",
            r"noted\.png\n  - Its PNG text 'parameters' holds what the generator Stable Diffusion web UI writes there",
            r"report\.html: \d+,\d{3} bytes",
        ],
        6,
    ),
    "06_the_reports_tables": (
        [
            r"all together: \d+ different trainings",
            r"scale \*\*smoke\*\*",
            r"0 of 1 cells to do",
            r"finds what was inpainted, and the reverse. By IoU, of 2 comparisons: not run",
        ],
        2,
    ),
}


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == kind]


def source(cell: nbformat.NotebookNode) -> str:
    """A code cell as Python, without IPython's own lines."""
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the notebooks share: made data sets, a kernel of this very interpreter, a CIFAKE of a few pictures."""
    folder = tmp_path_factory.mktemp("notebooks")
    # The environment's own kernel may be missing, or another of that name may come before it.
    write_kernel_spec(folder / "jupyter" / "kernels" / "python3")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "cifake.zip", "w") as archive:
        for place in ("train/FAKE", "train/REAL", "test/FAKE", "test/REAL"):
            for number in range(4):
                picture = rng.integers(0, 256, (32, 32, 3), np.uint8)
                archive.writestr(f"CIFAKE/{place}/{number}.jpg", images.encode_jpeg(picture))
    return folder


@pytest.fixture
def kernel_environment(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    for name, value in {
        SETTING: "1",
        "FAKECLF_NOTEBOOK_CIFAKE": room / "cifake.zip",
        "FAKECLF_DATA": room / "data",
        "PYTHONPATH": python_path,
        "TMPDIR": tmp_path / "temporary",
        "JUPYTER_PATH": room / "jupyter",
        "JUPYTER_RUNTIME_DIR": room / "runtime",
        "IPYTHONDIR": room / "ipython",
    }.items():
        monkeypatch.setenv(name, str(value))


def test_every_notebook_is_tested() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_it_is_for(path: Path, kernel_environment: None, tmp_path: Path) -> None:
    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path / "work"}}
    )
    client.create_kernel_manager().shutdown_wait_time = 300  # seconds to tidy up, before it is killed
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    expected, pictures = SHOWN[path.stem]
    assert [pattern for pattern in expected if not re.search(pattern, printed)] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == pictures
    assert list((tmp_path / "work").iterdir()) == [], "a notebook leaves nothing in the folder that it stands in"
    # TensorFlow leaves single files there.
    folders = [place for place in (tmp_path / "temporary").iterdir() if place.is_dir()]
    assert folders == [], "what it made is gone when it is closed"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_plain(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    code = cells(path, "code")
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code), "committed without outputs"
    trees = [ast.parse(source(cell)) for cell in code]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)], "the package owns these"
    assert SETTING in code[0].source
    assert not [cell for cell in code[1:] if "environ" in cell.source], "all settings stand in the first cell"
    for cell in notebook.cells:
        assert not re.search(r"(?<![\w.])/(home|root|tmp|work|usr|Users|mnt)/", cell.source), "no path of one machine"
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")
    assert len(cells(path, "markdown")) >= len(code) // 2
