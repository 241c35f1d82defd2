"""What each output of a localizer is trained for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmentation import losses, training_metrics

MVSS = {"mask": ("dice", 0.16), "edge": ("edge_dice", 0.80), "score": ("score_bce", 0.04)}
"""Loss and weight of each output; Dong et al. 2021, arXiv:2104.06832."""


def objective(name: str, outputs: Sequence[str], **args: Any) -> dict[str, Any]:
    """Losses, their weights and metrics, as ``keras.Model.compile`` takes them.

    Args:
        name: a loss of the mask (see ``segmentation.losses.LOSSES``), or ``mvss``: edge and score too.
        outputs: the model's.
        args: of the mask's loss.

    Raises:
        FakeclfError: for an unknown loss or argument.
    """
    chosen = {key: value for key, value in MVSS.items() if key in outputs} if name == "mvss" else {"mask": (name, 1.0)}
    made = {key: losses.make(loss, **(args if key == "mask" else {})) for key, (loss, _) in chosen.items()}
    metrics = [training_metrics.IoU(name="iou"), training_metrics.F1(name="f1"), training_metrics.AUC(name="auc")]
    return {
        "loss": made,
        "loss_weights": {key: weight for key, (_, weight) in chosen.items()},
        "metrics": {"mask": metrics},
    }
