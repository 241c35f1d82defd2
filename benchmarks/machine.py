"""What the benchmarks ran on, for the line above their tables."""

from __future__ import annotations

import os
import platform


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> str:
    """Cores, their model, and the load over the last 1, 5 and 15 minutes."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{cores()} x {models[0] if models else platform.processor() or platform.machine()}, load {load}"
