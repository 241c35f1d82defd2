"""The 2023 report's ensemble: one picture through any number of classifiers, their outputs concatenated, a head on top.

Every member keeps its own preprocessing inside, so members of different input sizes take the same picture. The
report's head is one sigmoid unit on the two members' probabilities: 3 parameters.

Reference: report "Inpainting Image Detection" (2023); Wolpert 1992, "Stacked generalization".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops, regularizers

from fakeclf.errors import FakeclfError

INPUTS = ("probability", "logit")


@keras.saving.register_keras_serializable("fakeclf")
class Logit(layers.Layer):
    """log(p / (1 - p)) of probabilities, clipped to [epsilon, 1 - epsilon] so that it stays finite.

    Two saturated probabilities, 0.999 and 0.99999, are nearly one number to a head; their logits, 6.9 and 11.5, keep
    apart how sure each member is.

    Args:
        epsilon: the clipping; 1e-6 bounds the logits by 13.8 either way.

    Input shape and output shape: any, the same.
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < epsilon < 0.5:
            raise ValueError(f"epsilon must lie between 0 and 0.5. Received: epsilon={epsilon!r}")
        self.epsilon = epsilon

    def call(self, probabilities: Any) -> Any:
        p = ops.clip(probabilities, self.epsilon, 1 - self.epsilon)
        return ops.log(p) - ops.log(1 - p)  # ONNX has no log1p

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("fakeclf")
class Frozen(layers.Wrapper):
    """A layer or model that neither trains nor runs in training mode, whatever surrounds it.

    ``trainable = False`` stops the weights and the batch norms, but a model that is fitted still drops units out in its
    frozen parts, because Keras hands ``training=True`` on to all of them.

    Input shape and output shape: those of the layer inside.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **{**kwargs, "trainable": False})
        self.layer.trainable = False

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs, training=False)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.layer.compute_output_shape(input_shape)


def build_head(
    members: int,
    hidden_units: int = 0,
    dropout: float = 0.0,
    l2: float = 0.0,
    inputs: str = "probability",
    seed: int | None = None,
) -> keras.Model:
    """Build the network that weighs the members' outputs.

    Args:
        members: how many members there are.
        hidden_units: width of one hidden ReLU layer; 0 = none, the report's head.
        dropout: rate on the hidden layer, below 1; without a hidden layer it drops members.
        l2: weight of the L2 penalty on both kernels.
        inputs: ``probability`` weighs the members' P(REAL) as they are (the report); ``logit`` their logits, see
            ``Logit``.
        seed: of the initial weights and the dropout; None draws one.

    Input shape: (batch, members), each P(REAL) in [0, 1].
    Output shape: (batch, 1), P(REAL).

    Raises:
        FakeclfError: for arguments outside these ranges.
    """
    if members < 1:
        raise FakeclfError(f"a head needs at least one member; received members={members}")
    if hidden_units < 0 or not 0 <= dropout < 1 or l2 < 0:
        raise FakeclfError(
            "a head takes hidden_units >= 0, 0 <= dropout < 1 and l2 >= 0; "
            f"received hidden_units={hidden_units}, dropout={dropout}, l2={l2}"
        )
    if inputs not in INPUTS:
        raise FakeclfError(f"inputs must be {' or '.join(INPUTS)}; received {inputs!r}")
    # Always float32: the head costs nothing, and a sigmoid in half precision saturates early.
    common: dict[str, Any] = {"dtype": "float32"}
    seeds = [None] * 3 if seed is None else [3 * seed, 3 * seed + 1, 3 * seed + 2]
    probabilities = keras.Input((members,), name="members", dtype="float32")
    x = Logit(name="logit", **common)(probabilities) if inputs == "logit" else probabilities
    if hidden_units:
        x = layers.Dense(
            hidden_units,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotUniform(seeds[0]),
            kernel_regularizer=regularizers.L2(l2) if l2 else None,
            name="hidden",
            **common,
        )(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seeds[1], name="dropout", **common)(x)
    real = layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(seeds[2]),
        kernel_regularizer=regularizers.L2(l2) if l2 else None,
        name="p_real",
        **common,
    )(x)
    return keras.Model(probabilities, real, name="ensemble_head")


def assemble(members: Sequence[keras.Model], head: keras.Model, frozen: bool = True) -> keras.Model:
    """Join classifiers and a head into one model.

    The members' layers are shared with the ensemble, not copied, and ``frozen`` sets whether they train. A frozen
    member runs as at prediction: its dropout is off and its batch norms keep their statistics.

    Args:
        members: models from (batch, height, width, 3) to (batch, 1), of any input sizes; names may repeat.
        head: a model from (batch, len(members)) to (batch, 1), as ``build_head`` makes it.
        frozen: whether only the head trains. The report trains all.

    Input shape: (batch, height, width, 3), RGB 0-255, any size.
    Output shape: (batch, 1), P(REAL).

    Raises:
        FakeclfError: if a member is no classifier with one output, or the head is made for another number of members.
    """
    if not members:
        raise FakeclfError("an ensemble needs at least one member; received none")
    if head.input_shape != (None, len(members)):
        raise FakeclfError(f"the head takes inputs of shape {head.input_shape}; there are {len(members)} members")
    for member in members:
        if len(member.outputs) != 1 or tuple(member.outputs[0].shape) != (None, 1):
            raise FakeclfError(
                f"{member.name} gives {member.output_shape}; an ensemble joins classifiers, which give (None, 1)"
            )
    pictures = keras.Input((None, None, 3), name="pictures", dtype="float32")
    names = _unique(["pictures", "concatenate", head.name], [member.name for member in members])
    outputs = []
    for member, name in zip(members, names, strict=True):
        member.trainable = not frozen
        # Either way the new name goes to something around the same layers: the caller's member keeps its own.
        if frozen:
            outputs.append(Frozen(member, name=name)(pictures))
        else:
            outputs.append(keras.Model(member.inputs[0], member.outputs[0], name=name)(pictures))
    together = layers.Concatenate(name="concatenate", dtype="float32")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(pictures, head(together), name="ensemble")


def _unique(taken: list[str], names: list[str]) -> list[str]:
    """``a, b, a`` -> ``a, b, a_2``; nested models of one name cannot live in one model."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in [*taken, *unique]:
            number += 1
            candidate = f"{name}_{number}"
        unique.append(candidate)
    return unique
