"""Train an ensemble's head on outputs of its members: a few seconds, however large the members are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fakeclf import metrics
from fakeclf.config import Recipe
from fakeclf.errors import FakeclfError
from fakeclf.registry import closest
from fakeclf.training.member_outputs import Table

if TYPE_CHECKING:
    import keras

ARGUMENTS = ("hidden_units", "dropout", "l2", "inputs")
OTHERS = ("members", "fit_on")
FITS = ("validation", "train")
STEPS = 10
"""Steps an epoch that a head gets at least, however few pictures there are."""


def fit_head(recipe: Recipe, fit: Table, check: Table) -> tuple[keras.Model, list[float]]:
    """Train a head on members' outputs; it keeps the epoch with the smallest cross-entropy on ``check``.

    Args:
        recipe: ``model_args`` of the head; ``epochs``, ``batch_size``, ``optimizer``, ``stopping.patience``, ``seed``.
        fit: outputs to learn from.
        check: outputs that stop it, of the same members.

    Returns:
        The head, and its loss on ``check`` after each epoch, without the L2 penalty.
    """
    import keras

    from fakeclf.models.ensemble import build_head
    from fakeclf.training.trainer import compile_model

    keras.utils.set_random_seed(recipe.seed)
    head = build_head(fit.p_real.shape[1], seed=recipe.seed, **head_arguments(recipe))
    batch_size = max(1, min(recipe.batch_size, len(fit) // STEPS))
    steps = max(1, len(fit) // batch_size)
    compile_model(head, recipe, steps, loss="binary_crossentropy")
    rng = np.random.default_rng(recipe.seed)
    truth = fit.truth.astype("float32")[:, None]
    losses: list[float] = []
    best = head.get_weights()
    # A plain loop: an epoch of Keras' fit takes ten times as long to set up as these few steps take.
    for _ in range(recipe.epochs):
        for places in rng.permutation(len(fit))[: steps * batch_size].reshape(steps, batch_size):
            head.train_on_batch(fit.p_real[places], truth[places])
        losses.append(metrics.log_loss(check.truth, head.predict_on_batch(check.p_real)))
        if losses[-1] == min(losses):
            best = head.get_weights()
        since_best = len(losses) - 1 - int(np.argmin(losses))
        if not math.isfinite(losses[-1]) or recipe.stopping.patience and since_best >= recipe.stopping.patience:
            break
    head.set_weights(best)
    return head, losses


def head_arguments(recipe: Recipe) -> dict[str, Any]:
    """What of ``model_args`` is ``build_head``'s."""
    return {key: value for key, value in recipe.model_args.items() if key in ARGUMENTS}


def check_arguments(recipe: Recipe, members: Sequence[str]) -> None:
    """Find wrong ``model_args`` before any work.

    Raises:
        FakeclfError: naming the key, and what is allowed.
    """
    from fakeclf.models.ensemble import build_head

    args = recipe.model_args
    for key in args:
        if key not in (*ARGUMENTS, *OTHERS):
            raise FakeclfError(f"unknown key 'model_args.{key}'; {closest(key, (*ARGUMENTS, *OTHERS))}")
    if args.get("fit_on", "validation") not in FITS:
        raise FakeclfError(f"model_args.fit_on must be {' or '.join(FITS)}; received {args['fit_on']!r}")
    chosen = args.get("members", list(members))
    if not isinstance(chosen, list) or len(chosen) < 2 or len(set(map(str, chosen))) < len(chosen):
        raise FakeclfError(f"model_args.members must name two members or more, each once; received {chosen!r}")
    for name in chosen:
        if name not in members:
            raise FakeclfError(f"model_args.members: {name!r} is no member; {closest(name, members)}")
    try:
        build_head(len(chosen), **head_arguments(recipe))
    except TypeError as error:
        raise FakeclfError(f"model_args: {error}; see fakeclf.models.ensemble.build_head") from error
