"""Losses on masks: what each report trained its localizer with, and the usual ones.

They take the true mask, (batch, h, w, 1) in [0, 1] (grey where a mask's edge is blurred), and predicted probabilities
of the same shape. Each gives one value a picture, so that sample weights are weights of pictures and nothing depends
on a picture's neighbours in the batch, unless ``over="batch"`` is asked for. All is computed in float32, and
probabilities are kept ``EPSILON`` away from 0 and 1, so that neither values nor gradients are ever infinite.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from segmentation.layers.resize import resize_nearest

EPSILON = 1e-7


def cross_entropy(truth: Any, probability: Any) -> Any:
    """Binary cross-entropy of every pixel, the shape of the inputs."""
    p = ops.clip(probability, EPSILON, 1 - EPSILON)
    return -(truth * ops.log(p) + (1 - truth) * ops.log(1 - p))


def focal(truth: Any, probability: Any, gamma: float = 2.0, alpha: float | None = None) -> Any:
    """Focal loss of every pixel: its cross-entropy times (1 - p_t)^gamma, and times alpha_t where there is an alpha.

    p_t is the probability given to the truth, alpha_t is alpha on inpainted pixels and 1 - alpha on others; on grey
    pixels both are mixed in the proportion of the grey, as torchvision's ``sigmoid_focal_loss`` does.
    """
    p = ops.clip(probability, EPSILON, 1 - EPSILON)
    missed = 1 - (truth * p + (1 - truth) * (1 - p))
    # On a grey pixel or in float32 the rounded difference can reach 0, where a power has no finite slope.
    loss = ops.maximum(missed, EPSILON) ** gamma * cross_entropy(truth, p)
    return loss if alpha is None else loss * (truth * alpha + (1 - truth) * (1 - alpha))


def dice(truth: Any, probability: Any, squared: bool = False, smooth: float = 1.0, over: str = "picture") -> Any:
    """1 - (2 sum(y p) + smooth) / (sum(y) + sum(p) + smooth), a value a picture, (batch,).

    Args:
        squared: sums of squares in the denominator (Milletari et al. 2016).
        smooth: keeps empty masks finite: an empty prediction of an empty mask has no loss.
        over: ``picture``, or ``batch`` to sum over all its pictures; then a picture without forgery, whose own Dice
            is near 1 for anything but an empty prediction, still pushes the right way.
    """
    axes = (1, 2, 3) if over == "picture" else (0, 1, 2, 3)
    power = 2 if squared else 1
    both = ops.sum(truth * probability, axis=axes)
    each = ops.sum(truth**power, axis=axes) + ops.sum(probability**power, axis=axes)
    loss = 1 - (2 * both + smooth) / (each + smooth)
    return loss if over == "picture" else ops.repeat(ops.reshape(loss, (1,)), ops.shape(truth)[0])


def mask_edges(mask: Any, window: int = 3) -> Any:
    """The band along a mask's edge: its maximum less its minimum within a window.

    Args:
        mask: (batch, h, w, 1), values 0-1. Where the mask is cut off by the picture's border there is no edge.
        window: odd side of the window, pixels; the band is ``window - 1`` pixels wide.

    Returns:
        (batch, h, w, 1), values 0-1.
    """
    highest = ops.max_pool(mask, window, strides=1, padding="same")
    lowest = -ops.max_pool(-mask, window, strides=1, padding="same")
    return highest - lowest


def shrink_by_maximum(mask: Any, height: Any, width: Any) -> Any:
    """Bring (batch, h, w, 1) to ``height`` x ``width``; each pixel is the largest of those it stands for.

    Thin lines survive, which they do not in a nearest resize. Sizes need not divide, nor be known at tracing time.
    """
    down, right = -(-ops.shape(mask)[1] // height), -(-ops.shape(mask)[2] // width)
    mask = resize_nearest(mask, height * down, width * right)
    return ops.max(ops.reshape(mask, (-1, height, down, width, right, 1)), axis=(2, 4))


class PictureLoss(keras.losses.Loss):
    """A loss with one value a picture; what subclasses share."""

    def __init__(self, name: str, reduction: str = "sum_over_batch_size", **kwargs: Any) -> None:
        super().__init__(name=name, reduction=reduction, **{"dtype": "float32", **kwargs})

    def _check(self, **numbers: float | None) -> None:
        for key, value in numbers.items():
            if key == "alpha" and value is None:
                continue
            highest = 1.0 if key == "alpha" else float("inf")
            if not isinstance(value, (int, float)) or not 0 <= value <= highest:
                allowed = "between 0 and 1, or none" if key == "alpha" else "0 or more"
                raise FakeclfError(f"{key} of the loss {self.name} must be {allowed}; received {value!r}")


@keras.saving.register_keras_serializable("segmentation")
class BinaryCrossentropy(PictureLoss):
    """Mean over a picture's pixels of ``cross_entropy``."""

    def __init__(self, name: str = "bce", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(cross_entropy(y_true, y_pred), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("segmentation")
class Focal(PictureLoss):
    """Mean over a picture's pixels of ``focal``.

    NIX-Net was trained with gamma 2 and no alpha, its re-implementation with torchvision's alpha 0.25.

    Args:
        gamma: 0 or more; 0 is cross-entropy.
        alpha: weight of inpainted pixels, 0 to 1, that of the others being 1 - alpha; None weighs all with 1.

    Raises:
        FakeclfError: a number out of its range.

    Reference: Lin et al. 2017, arXiv:1708.02002.
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = None, name: str = "focal", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._check(gamma=gamma, alpha=alpha)
        self.gamma, self.alpha = gamma, alpha

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(focal(y_true, y_pred, self.gamma, self.alpha), axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


@keras.saving.register_keras_serializable("segmentation")
class Dice(PictureLoss):
    """``dice`` of the mask.

    Args:
        squared, smooth, over: see ``dice``.

    Raises:
        FakeclfError: a negative ``smooth``, or an ``over`` that is neither ``picture`` nor ``batch``.

    Reference: Milletari et al. 2016, arXiv:1606.04797.
    """

    def __init__(
        self, squared: bool = False, smooth: float = 1.0, over: str = "picture", name: str = "dice", **kwargs: Any
    ) -> None:
        super().__init__(name, **kwargs)
        self._check(smooth=smooth)
        if over not in ("picture", "batch"):
            raise FakeclfError(f"over of the loss {self.name} must be picture or batch; received {over!r}")
        self.squared, self.smooth, self.over = squared, smooth, over

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return dice(y_true, y_pred, self.squared, max(self.smooth, EPSILON), self.over)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "squared": self.squared, "smooth": self.smooth, "over": self.over}


@keras.saving.register_keras_serializable("segmentation")
class FocalDice(Focal):
    """Focal loss plus Dice with squared terms in its denominator: IRL-Net's, alpha 0.75 and gamma 2.

    Args:
        gamma, alpha: see ``Focal``.
        dice_weight: factor of the Dice term.
        smooth: see ``dice``.

    Reference: Daryani et al. 2023 (IRL-Net).
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.75,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        name: str = "focal_dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(gamma, alpha, name, **kwargs)
        self._check(dice_weight=dice_weight, smooth=smooth)
        self.dice_weight, self.smooth = dice_weight, smooth

    def call(self, y_true: Any, y_pred: Any) -> Any:
        overlap = dice(y_true, y_pred, squared=True, smooth=max(self.smooth, EPSILON))
        return super().call(y_true, y_pred) + self.dice_weight * overlap

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dice_weight": self.dice_weight, "smooth": self.smooth}


@keras.saving.register_keras_serializable("segmentation")
class FocalBCE(Focal):
    """Focal loss plus binary cross-entropy: IID-Net's, alpha 0.25 and gamma 2.

    Both terms see the probability. The authors' code passes it through a second sigmoid on its way to the focal term
    (sigmoid of a sigmoid, so between 0.5 and 0.73 whatever the network says); that slip is not repeated.

    Reference: Wu & Zhou 2021 (IID-Net).
    """

    def __init__(self, gamma: float = 2.0, alpha: float | None = 0.25, name: str = "focal_bce", **kwargs: Any) -> None:
        super().__init__(gamma, alpha, name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return super().call(y_true, y_pred) + ops.mean(cross_entropy(y_true, y_pred), axis=(1, 2, 3))


@keras.saving.register_keras_serializable("segmentation")
class BCEDice(Dice):
    """Binary cross-entropy plus Dice.

    Args:
        dice_weight: factor of the Dice term.
        squared, smooth, over: see ``dice``.
    """

    def __init__(self, dice_weight: float = 1.0, name: str = "bce_dice", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._check(dice_weight=dice_weight)
        self.dice_weight = dice_weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(cross_entropy(y_true, y_pred), axis=(1, 2, 3)) + self.dice_weight * super().call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dice_weight": self.dice_weight}


@keras.saving.register_keras_serializable("segmentation")
class EdgeDice(Dice):
    """Dice between a predicted edge map and the edge of the true mask.

    ``y_true`` is the mask itself; its edge is taken at full size and brought to the prediction's size by maximum.

    Args:
        window: see ``mask_edges``.
        squared, smooth, over: see ``dice``.

    Reference: Dong et al. 2022 (MVSS-Net), arXiv:2112.08935.
    """

    def __init__(self, window: int = 3, name: str = "edge_dice", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not isinstance(window, int) or window < 3 or window % 2 == 0:
            raise FakeclfError(f"window of the loss {self.name} must be odd and 3 or more; received {window!r}")
        self.window = window

    def call(self, y_true: Any, y_pred: Any) -> Any:
        height, width = ops.shape(y_pred)[1], ops.shape(y_pred)[2]
        return super().call(shrink_by_maximum(mask_edges(y_true, self.window), height, width), y_pred)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable("segmentation")
class ScoreBCE(PictureLoss):
    """Binary cross-entropy of a picture's score, (batch, 1): P(FAKE).

    ``y_true`` is 1 for a forged picture, (batch,) or (batch, 1), or its mask, (batch, h, w, 1), whose largest value is
    taken.
    """

    def __init__(self, name: str = "score_bce", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        label = ops.max(ops.reshape(y_true, (ops.shape(y_true)[0], -1)), axis=1)
        return cross_entropy(label, ops.reshape(y_pred, (-1,)))


LOSSES: dict[str, tuple[type[PictureLoss], dict[str, Any]]] = {
    "bce": (BinaryCrossentropy, {}),
    "focal": (Focal, {}),
    "focal_alpha": (Focal, {"alpha": 0.25}),
    "dice": (Dice, {}),
    "dice_squared": (Dice, {"squared": True}),
    "bce_dice": (BCEDice, {}),
    "focal_dice": (FocalDice, {}),
    "focal_bce": (FocalBCE, {}),
    "edge_dice": (EdgeDice, {}),
    "score_bce": (ScoreBCE, {}),
}
"""The names a recipe may use: the class, and the arguments that differ from its defaults."""


def make(name: str, **args: Any) -> keras.losses.Loss:
    """The loss of that name; ``args`` go to its class.

    Raises:
        FakeclfError: there is no such loss or argument (the message names the nearest), or a value is out of range.
    """
    allowed = arguments(name)
    for key in args:
        if key not in allowed:
            hint = closest(key, allowed) if allowed else "it takes no arguments"
            raise FakeclfError(f"the loss {name} takes no {key!r}; {hint}")
    kind, settings = LOSSES[name]
    return kind(**{"name": name, **settings, **args})


def arguments(name: str) -> list[str]:
    """What a person may set of the loss of that name.

    Raises:
        FakeclfError: there is none; the message names the nearest.
    """
    if name not in LOSSES:
        raise FakeclfError(f"there is no mask loss {name!r}; {closest(name, LOSSES)}")
    found: list[str] = []
    # A class hands the arguments it does not name to its parent.
    for parent in inspect.getmro(LOSSES[name][0]):
        if parent is PictureLoss:
            break
        found += [key for key in inspect.signature(parent).parameters if key not in ("name", "kwargs", *found)]
    return found
