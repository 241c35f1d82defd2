"""A progress bar on a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Context manager that is told how much is done; writes to stderr.

    Args:
        label: what is being done.
        total: how much there is to do; ``None`` if not known.
        unit: ``"B"`` for bytes (shown with kilo, mega ...), else a noun.
        done: how much was done before.
    """

    def __init__(self, label: str, total: int | None, unit: str = "B", done: int = 0) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._bar: Any = None
        self._first, self._start = done, time.monotonic()
        self._told = self._start

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=self.label, total=self.total, unit=self.unit, unit_scale=self.unit == "B", initial=self.done
            )
        return self

    def to(self, done: int) -> None:
        """``done`` of ``total`` is done by now."""
        if self._bar is not None:
            self._bar.update(done - self.done)
        self.done = done
        if self._bar is None and time.monotonic() - self._told >= SECONDS_BETWEEN_LINES:
            self._tell()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        of = f" of {self._amount(self.total)}" if self.total else ""
        unit = "MB" if self.unit == "B" else self.unit
        print(f"{self.label}: {self._amount(self.done)}{of} {unit}{self._pace()}", file=sys.stderr, flush=True)

    def _pace(self) -> str:
        """How fast it goes, and the time left where the total is known."""
        rate = (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)
        if rate <= 0:
            return ""
        unit = "MB" if self.unit == "B" else self.unit
        shown = f", {rate / 1e6 if self.unit == 'B' else rate:.2g} {unit} a second"
        left = (self.total or 0) - self.done
        return f"{shown}, about {left / rate:,.0f} s left" if left > 0 else shown

    def _amount(self, number: int) -> str:
        return f"{number / 1e6:,.1f}" if self.unit == "B" else f"{number:,}"
