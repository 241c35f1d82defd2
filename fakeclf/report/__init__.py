"""All verdicts on one page: a single HTML file that asks nothing of the outside."""

from __future__ import annotations

from fakeclf.report.build import write

__all__ = ["write"]
