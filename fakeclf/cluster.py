"""Ray, the engine for work on several machines: joined where a cluster runs, else started on this machine alone.

All machines must see the same folders under the same names: inputs, outputs and models go by path.

Reference: Moritz et al. 2018, "Ray: A Distributed Framework for Emerging AI Applications", arXiv:1712.05889.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fakeclf.errors import FakeclfError


@contextmanager
def connected() -> Iterator[Any]:
    """The module ``ray``, with a cluster behind it.

    That is the one this process is joined to already, else the one that ``RAY_ADDRESS`` names or that runs on this
    machine (``ray start``), else one of this machine's processors, which ends with the block.

    Raises:
        FakeclfError: Ray is not installed, or the cluster cannot be reached.
    """
    # Read when Ray is imported. Nobody asked for a report on this machine to be sent out.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise FakeclfError("--engine ray needs Ray; install it with: pip install 'fakeclf[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError) as error:
        reason = str(error).partition("\n")[0]
        raise FakeclfError(f"cannot join the Ray cluster: {reason}; see `ray status`, or unset RAY_ADDRESS") from error
    try:
        yield ray
    finally:
        ray.shutdown()
