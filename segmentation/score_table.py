"""An evaluation of masks as text for the terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmentation.scores import MaskEvaluation, Row

COLUMNS = {
    "iou": "IoU",
    "mean_iou": "both IoU",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "mcc": "MCC",
    "auc": "AUC",
    "hole": "all-positive",
    "control_auc": "control",
}
POOLED = ("iou", "mean_iou", "f1", "precision", "recall", "mcc", "auc")
PROBLEMS = 20  # lines
INVERTED = "scores inverted on this source"
"""Said of an AUC under 0.5: the mask, or the score, points away from what was inpainted."""


def report(evaluation: MaskEvaluation, markdown: bool = False) -> str:
    """Everything a person is shown of an evaluation.

    Args:
        evaluation: the figures.
        markdown: tables as in Markdown, intervals in the cells; else aligned columns, intervals below the figures.
    """
    table = _markdown if markdown else _aligned
    rows = named(evaluation)
    count = f"{len(evaluation.forged):,} forged and {len(evaluation.pristines):,} pristine pictures"
    left = f"{evaluation.unreadable:,} files unreadable, {evaluation.failed:,} other failures"
    head = f"{evaluation.model} on {evaluation.data} ({evaluation.split}), {count}; {left}"
    blocks = [f"{head}; {evaluation.seconds:.3f} s a picture"]
    if evaluation.forged:
        header, body = ["", "pictures", *COLUMNS.values(), ""], []
        for name, row in rows.items():
            cells = [(row.figures[key], row.intervals[key]) for key in COLUMNS]
            body += _lines([name, f"{row.pictures:,}"], cells, [INVERTED if row.inverted else ""], markdown)
        blocks.append(f"Per picture, then mean:\n\n{table(header, body)}")
        missing = [
            f"{name}, {COLUMNS[key]}: {why}"
            for name, row in rows.items()
            for key, why in row.undefined.items()
            if key in COLUMNS
        ]
        if missing:
            blocks.append("\n".join(["Means over fewer pictures:", "", *(f"- {line}" for line in missing)]))
        body = []
        for name, row in rows.items():
            if row.pooled:
                cells = [(row.pooled[key], row.pooled_intervals.get(key)) for key in POOLED]
                body += _lines([name], cells, [], markdown)
        blocks.append(f"All pixels together:\n\n{table(['', *(COLUMNS[key] for key in POOLED)], body)}")
    scored = {name: row for name, row in rows.items() if row.image}
    if scored:
        blocks.append(_picture_scores(scored, markdown))
    if evaluation.pristines:
        low, high = evaluation.pristine["interval"]
        spread = f"95 % interval {low:.4f}-{high:.4f}; largest {evaluation.pristine['largest']:.4f}"
        blocks.append(f"Mean positive area on pristine pictures: {evaluation.pristine['area']:.4f} ({spread})")
    blocks.append("\n".join(["How this was measured:", "", *(f"- {line}" for line in evaluation.protocol)]))
    if evaluation.problems:
        shown = [f"- {line}" for line in evaluation.problems[:PROBLEMS]]
        more = len(evaluation.problems) - len(shown)
        blocks.append("\n".join(["Problems:", "", *shown, *([f"- and {more:,} more"] if more else [])]))
    return "\n\n".join(blocks)


def named(evaluation: MaskEvaluation) -> dict[str, Row]:
    """All rows of the table by what they are called in it."""
    rows = dict(evaluation.rows)
    if evaluation.mean_of_generators:
        rows[f"mean of {len(evaluation.rows)} generators"] = evaluation.mean_of_generators
    return {**rows, "all pictures": evaluation.all}


def _picture_scores(rows: dict[str, Row], markdown: bool) -> str:
    body = []
    for name, row in rows.items():
        image: dict[str, Any] = row.image
        after = [*(f"{image[key]:.3f}" for key in ("ap", "eer", "mean_forged", "mean_pristine"))]
        note = INVERTED if image["auc"] < 0.5 else ""
        body += _lines([name], [(image["auc"], image["auc_interval"])], [*after, note], markdown)
    header = ["", "AUC", "AP", "EER", "mean forged", "mean pristine", ""]
    table = (_markdown if markdown else _aligned)(header, body)
    return f"Picture scores, forged against pristine:\n\n{table}"


def _lines(
    before: Sequence[str],
    cells: Sequence[tuple[float | None, tuple[float, float] | None]],
    after: Sequence[str],
    markdown: bool,
) -> list[list[str]]:
    """One row of a table: intervals in the cells, or in a line of their own below the figures."""
    figures = ["-" if value is None else f"{value:.3f}" for value, _ in cells]
    if markdown:
        spans = ["" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})" for _, ends in cells]
        return [[*before, *(figure + span for figure, span in zip(figures, spans, strict=True)), *after]]
    spans = ["" if ends is None else f"{ends[0]:.2f}{' to ' if ends[0] < 0 else '-'}{ends[1]:.2f}" for _, ends in cells]
    return [[*before, *figures, *after], ["" for _ in before] + spans + ["" for _ in after]]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first and an untitled last one to the left, numbers to the right."""
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    left = {0, *([len(header) - 1] if not header[-1] else [])}
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in header[1:])]
    # A generator is named by a folder or a manifest and may hold what divides cells.
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in (header, rule, *rows))
