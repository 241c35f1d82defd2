"""Run as a script, ``killed.py EXPERIMENT FOLDER LOG SECONDS``: a grid whose cells take SECONDS each and are logged."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fakeclf.reproduce.experiments import read, read_scale
from fakeclf.reproduce.grid import Cell, expand
from fakeclf.reproduce.runner import Store, run


def main() -> None:
    name, folder, log, seconds = sys.argv[1:]

    def measure(cell: Cell) -> dict[str, float]:
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(f"begun {cell.id}\n")
        time.sleep(float(seconds))
        return {"figure": 1.0}

    cells = expand(read(name), read_scale("small"))
    failed = run(cells, Store(Path(folder)), measure, print)
    print(f"failed {failed}", flush=True)


if __name__ == "__main__":
    main()
