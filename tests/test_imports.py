"""Who may import whom, and what must not be imported before it is needed."""

from __future__ import annotations

import ast
import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fakeclf

PACKAGE = Path(fakeclf.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("tensorflow", "keras", "numpy", "PIL", "sklearn", "skimage", "matplotlib", "hyperopt", "torch", "jax")
# The ground floor: what each of these may import of this project.
GROUND = {
    "errors": set(),
    "atomic": {"fakeclf.errors"},
    "images": {"fakeclf.errors", "fakeclf.atomic"},
    "registry": {"fakeclf.errors"},
    "metrics": {"fakeclf.errors"},
    "config": {"fakeclf.errors", "fakeclf.registry"},
}
# Other backends of Keras: used where somebody has installed them, never asked for.
BACKENDS = {"torch", "jax"}
EXTRAS = {"c2pa", "onnxruntime", "ray", "tf2onnx"}  # imported where they are needed, with a hint where they are missing
DISTRIBUTION = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "ai_edge_litert": "ai-edge-litert",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that the import statements of a file name; those under TYPE_CHECKING are never run and left out."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if is_module(full) else str(node.module))
        never_run = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        run_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if never_run or (top_level_only and run_later):
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_fakeclf_never_imports_segmentation(path: Path) -> None:
    assert "segmentation" not in roots(imported(path))


@pytest.mark.parametrize("module", GROUND)
def test_the_ground_floor_stands_on_nothing_but_itself(module: str) -> None:
    own = {name for name in imported(PACKAGE / f"{module}.py") if name.partition(".")[0] == "fakeclf"}
    assert own <= GROUND[module]


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*.py")), ids=name_of)
def test_models_import_tensorflow_inside_functions_only(path: Path) -> None:
    assert "tensorflow" not in roots(imported(path, top_level_only=True))


def test_the_trainer_imports_tensorflow_inside_functions_only() -> None:
    assert "tensorflow" not in roots(imported(PACKAGE / "training" / "trainer.py", top_level_only=True))


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    lines = setup["options"]["install_requires"].strip().splitlines()
    declared = {Requirement(line).name.lower() for line in lines}
    outside = set().union(*(roots(imported(path)) for path in FILES)) - set(sys.stdlib_module_names) - {"fakeclf"}
    outside -= BACKENDS | EXTRAS
    assert {DISTRIBUTION.get(name, name).lower() for name in outside} <= declared


@pytest.mark.parametrize(
    "code",
    [
        "import fakeclf",
        "import fakeclf.cli.main",
        "import fakeclf.cli.main; fakeclf.cli.main.main(['--help'])",
        "import fakeclf.cli.main; fakeclf.cli.main.main(['train', '--help'])",
        "import fakeclf.cli.main; fakeclf.cli.main.main(['models', 'list'])",
        "import fakeclf.registry, fakeclf.config; fakeclf.config.recipe_names(); fakeclf.registry.models()",
    ],
)
def test_starting_up_imports_nothing_heavy(code: str) -> None:
    probe = f"{code}\nimport sys; sys.exit(', '.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stderr.strip() == "" and done.returncode == 0
