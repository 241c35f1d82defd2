"""Pictures of a training, an evaluation and a search, as PNG.

Drawn with matplotlib's object-oriented figures: no display, no global state, safe in threads. The same input gives the
same bytes on one installation. Colours: Okabe & Ito 2008, told apart with any colour vision; line styles and markers
tell the same story without colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fakeclf import metrics
from fakeclf.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
DPI = 120


def learning_curves(history: Mapping[str, Sequence[float]], path: str | Path) -> None:
    """One panel a quantity, over epochs; training a full line, validation (``val_...``) a dashed one.

    Args:
        history: name to one value an epoch, as Keras' ``History.history``; learning rates get a logarithmic axis.
        path: the PNG to write.

    Raises:
        ValueError: if ``history`` holds no values.
        FakeclfError: if ``path`` cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    known = {name: np.asarray(values, float) for name, values in history.items() if len(values)}
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in known))
    if not panels:
        raise ValueError("history holds no epoch")
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = _figure(4.2 * columns, 3.4 * rows)
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        for prefix, colour, line, label in (("", BLUE, "o-", "training"), ("val_", VERMILLION, "s--", "validation")):
            values = known.get(prefix + panel)
            if values is not None:
                axes.plot(np.arange(1, len(values) + 1), values, line, color=colour, markersize=4, label=label)
        if panel not in ("learning_rate", "lr"):
            axes.legend(frameon=False)
        elif (known[panel] > 0).all():
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(axes, "epoch", panel.replace("_", " "))
    _write(figure, path)


def confusion_matrix(counts: metrics.Counts | Mapping[str, int], path: str | Path) -> None:
    """Truth against verdict: numbers of pictures, and their share of the row, which also sets the shade."""
    if not isinstance(counts, metrics.Counts):
        counts = metrics.Counts(**counts)
    cells = np.array([[counts.tp, counts.fn], [counts.fp, counts.tn]])
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    figure = _figure(4.4, 3.9)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(cells):
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{number:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=13,
            color="white" if share > 0.5 else "black",
        )
    axes.set_xticks([0, 1], ["FAKE", "REAL"])
    axes.set_yticks([0, 1], ["FAKE", "REAL"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_xlabel("called")
    axes.set_ylabel("is")
    axes.set_title(f"{counts.total:,} pictures, accuracy {counts.accuracy:.4f}", fontsize=11)
    _write(figure, path)


def roc(truth: ArrayLike, p_real: ArrayLike, path: str | Path) -> None:
    """ROC curve, FAKE being positive, with the area in its title; says so where one class is missing.

    Args:
        truth: 0 = FAKE, 1 = REAL, (n,).
        p_real: P(REAL), (n,).
        path: the PNG to write.
    """
    fpr, tpr, _ = metrics.roc_curve(truth, p_real)
    figure = _figure(4.4, 4.2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    if np.isnan(fpr).any() or np.isnan(tpr).any():
        axes.text(0.5, 0.5, "one class only:\nno curve", ha="center", va="center", backgroundcolor="white")
        title = "ROC"
    else:
        axes.plot(fpr, tpr, color=BLUE, linewidth=2, label="classifier", clip_on=False)
        title = f"ROC, area {metrics.auc(truth, p_real):.4f}"
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="lower right")
    _tidy(axes, "share of REAL called FAKE", "share of FAKE found", title)
    _write(figure, path)


def reliability(truth: ArrayLike, p_real: ArrayLike, path: str | Path) -> None:
    """How often a picture is FAKE where the model says so with P(FAKE), over how many pictures got which P(FAKE)."""
    title = f"reliability, ECE {metrics.ece(truth, p_real):.4f}"
    _reliability(truth, {"classifier": (p_real, BLUE, "o-")}, title, path)


def calibration(truth: ArrayLike, before: ArrayLike, after: ArrayLike, path: str | Path) -> None:
    """``reliability`` before and after a calibration, in one picture.

    Args:
        truth: 0 = FAKE, 1 = REAL, (n,).
        before, after: raw and calibrated P(REAL), (n,).
        path: the PNG to write.
    """
    title = f"reliability, ECE {metrics.ece(truth, before):.4f} before, {metrics.ece(truth, after):.4f} after"
    _reliability(truth, {"before": (before, VERMILLION, "s--"), "after": (after, BLUE, "o-")}, title, path)


def _reliability(
    truth: ArrayLike, curves: Mapping[str, tuple[ArrayLike, str, str]], title: str, path: str | Path
) -> None:
    figure = _figure(4.6, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="calibrated")
    edges = np.linspace(0, 1, metrics.BINS + 1)
    width = 1 / metrics.BINS / len(curves)
    for place, (label, (p_real, colour, line)) in enumerate(curves.items()):
        mean, share, number = metrics.reliability(truth, p_real)
        filled = number > 0
        upper.plot(mean[filled], share[filled], line, color=colour, markersize=5, label=label, clip_on=False)
        lower.bar(edges[:-1] + place * width, number, width=width, align="edge", color=colour, edgecolor="white")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.legend(frameon=False, loc="upper left")
    _tidy(upper, "", "share that is FAKE", title)
    _tidy(lower, "P(FAKE)", "pictures")
    _write(figure, path)


def trials(trials: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Loss of every trial of a search, the best so far, and the settings of the best.

    Args:
        trials: each with ``number``, ``loss`` (None or not finite where it failed), ``status`` (``ok`` or another word)
            and ``params`` (name to value).
        path: the PNG to write.

    Raises:
        ValueError: if there are no trials.
    """
    from matplotlib.ticker import MaxNLocator

    if not trials:
        raise ValueError("there are no trials")
    in_order = sorted(trials, key=lambda trial: trial["number"])
    done = [trial for trial in in_order if _succeeded(trial)]
    failed = [trial["number"] for trial in in_order if not _succeeded(trial)]
    figure = _figure(6.4, 4.2)
    axes = figure.add_subplot()
    title = "no trial succeeded"
    if done:
        numbers, losses = [trial["number"] for trial in done], [float(trial["loss"]) for trial in done]
        axes.plot(numbers, losses, color=BLUE, marker="o", linestyle="none", label="trial")
        best_so_far = np.minimum.accumulate(losses)
        axes.step(numbers, best_so_far, where="post", color=VERMILLION, linewidth=2, label="best so far")
        best = min(done, key=lambda trial: float(trial["loss"]))
        settings = _wrapped([f"{name} = {_short(value)}" for name, value in best["params"].items()])
        title = f"best: trial {best['number']}, loss {float(best['loss']):.4g}\n{settings}".rstrip()
    if failed:
        # Failed trials have no loss: their crosses stand on the lower edge, in axes units.
        axes.plot(
            failed,
            np.full(len(failed), 0.02),
            color=GREY,
            marker="x",
            linestyle="none",
            label="failed",
            transform=axes.get_xaxis_transform(),
        )
    axes.legend(frameon=False, loc="upper right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(axes, "trial", "loss", title)
    _write(figure, path)


def robustness(
    rows: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[tuple[float | None, tuple[float, float] | None]]]],
    path: str | Path,
    title: str = "",
) -> None:
    """Figures after each degradation as dots with their intervals, a line each, side by side where there are several.

    Args:
        rows: names, from top to bottom; the first is of the untouched pictures, where dotted lines stand.
        panels: what an axis is called, to what is drawn along it: names and, for each row, the value (None leaves it
            out) and its interval, (low, high) or None.
        path: the PNG to write.
        title: above all of them.
    """
    figure = _figure(1.6 + 3.6 * len(panels), 1.5 + 0.3 * len(rows))
    figure.suptitle(title, fontsize=11)
    places = np.arange(len(rows))
    for number, (along, drawn) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        styles = zip(drawn.items(), ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^")), strict=False)
        for place, ((name, values), (colour, marker)) in enumerate(styles):
            apart = 0.24 * (place - (len(drawn) - 1) / 2)
            middle = np.array([value for value, _ in values], float)  # None becomes NaN
            ends = np.array([ends or (value, value) for value, ends in values], float)
            axes.hlines(places + apart, ends[:, 0], ends[:, 1], color=colour, linewidth=1.5)
            axes.plot(middle, places + apart, marker, color=colour, markersize=5, label=name)
            axes.axvline(middle[0], color=colour, linestyle=":", linewidth=1)
        axes.set_yticks(places, rows if number == 1 else [""] * len(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        if len(drawn) > 1:
            axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(drawn), fontsize=9)
        _tidy(axes, along, "")
    _write(figure, path)


def beside_printed(
    names: Sequence[str],
    panels: Mapping[str, Sequence[tuple[float | None, tuple[float, float] | None, float | None]]],
    path: str | Path,
    unit: str,
) -> None:
    """Our figures with their intervals, and printed ones, a row a name and a panel a figure.

    Args:
        names: of the rows, from the top.
        panels: by figure, a row's own value, its interval and the printed value, None where there is none.
        path: the PNG to write.
        unit: of the values, for the axis.
    """
    shown = {name: rows for name, rows in panels.items() if any(value is not None for value, _, _ in rows)}
    figure = _figure(3.2 + 3.0 * len(shown), 2.0 + 0.26 * len(names))
    first: Any = None
    for place, (name, rows) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(1, len(shown), place, sharey=first)
        for row, (value, ends, printed) in enumerate(rows):
            if ends is not None:
                axes.plot(ends, (row, row), color=BLUE, linewidth=1.5)
            if value is not None:
                axes.plot(value, row, "o", color=BLUE, markersize=5, label="ours")
            if printed is not None:
                axes.plot(printed, row, "D", color=VERMILLION, markersize=5, fillstyle="none", label="printed")
        if first is None:
            first = axes
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.invert_yaxis()
        else:
            axes.tick_params(labelleft=False)
        _tidy(axes, unit if name not in ("loss", "val_loss", "learning_rate") else "", "", name)
        legend = {label: line for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        axes.legend(list(legend.values()), list(legend), frameon=False, fontsize=8)
    _write(figure, path)


def by_number(across: str, panels: Mapping[str, Sequence[tuple[int, Sequence[float]]]], path: str | Path) -> None:
    """A panel a figure: its values at each number as dots, their mean as a line.

    Args:
        across: what is counted.
        panels: by figure, numbers with the values that were measured there.
        path: the PNG to write.
    """
    figure = _figure(0.6 + 2.6 * len(panels), 3.2)
    for place, (name, values) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for number, some in values:
            axes.plot([number] * len(some), some, "o", color=GREY, markersize=4)
        means = [sum(some) / len(some) for _, some in values]
        axes.plot([number for number, _ in values], means, "o-", color=BLUE, linewidth=2, markersize=6)
        axes.set_xticks([number for number, _ in values])
        axes.set_ylim(0, 1)
        _tidy(axes, across, "", name)
    _write(figure, path)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Axes, across: str, up: str, title: str = "") -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title, fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _write(figure: Figure, path: str | Path) -> None:
    with replace_file(path) as beside:
        # The version of matplotlib would otherwise be in the file.
        figure.savefig(beside, format="png", metadata={"Software": None})


def _succeeded(trial: Mapping[str, Any]) -> bool:
    loss = trial.get("loss")
    return trial.get("status", "ok") == "ok" and loss is not None and bool(np.isfinite(loss))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _wrapped(words: Sequence[str], width: int = 70) -> str:
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(joined) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return "\n".join(lines)
