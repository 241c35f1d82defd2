from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakeclf.errors import FakeclfError
from fakeclf.training.job import require_free


def test_trainings_that_begin_together_do_not_disturb_one_another(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: require_free(tmp_path / "models" / str(number), force=False), range(400)))
    assert not any((tmp_path / "models").iterdir())


def test_a_name_that_is_taken_is_said_before_the_work(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(FakeclfError, match="mine exists already"):
        require_free(tmp_path / "mine", force=False)
    require_free(tmp_path / "mine", force=True)


def test_a_folder_that_cannot_be_written_to_is_said_before_the_work(tmp_path: Path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(FakeclfError, match="models"):
        require_free(tmp_path / "models" / "mine", force=False)
