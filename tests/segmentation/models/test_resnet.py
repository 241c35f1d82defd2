from __future__ import annotations

import keras
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from segmentation.models.resnet import resnet50_stages, torch_names


def stages(**args) -> keras.Model:
    x = keras.Input((None, None, 3))
    return keras.Model(x, resnet50_stages(x, name="body", **args))


def fill(model: keras.Model) -> dict[str, np.ndarray]:
    """Random weights, by the names of PyTorch, kernels as (h, w, in, out)."""
    random, weights = np.random.default_rng(0), {}
    for name, variable, kind in torch_names(model.layers):
        spread = np.sqrt(2 / np.prod(variable.shape[:3])) if kind == "conv" else 0.1
        value = random.normal(name.endswith(("bn1.weight", "running_var")), spread, variable.shape)
        weights[name] = np.abs(value).astype("float32") if "running_var" in name else value.astype("float32")
        variable.assign(weights[name])
    return weights


def conv(x, kernel, stride=1, dilation=1):
    """(h, w, c), zeros on every side: dilation times half the kernel."""
    size = kernel.shape[0]
    margin = dilation * (size // 2)
    windows = sliding_window_view(
        np.pad(x, ((margin,) * 2, (margin,) * 2, (0, 0))), (dilation * (size - 1) + 1,) * 2, (0, 1)
    )
    return np.einsum("hwcij,ijco->hwo", windows[::stride, ::stride, :, ::dilation, ::dilation], kernel, optimize=True)


def oracle(x, weights, strides, rates):
    """The four stages in NumPy, from PyTorch's names alone; ``rates`` are the dilations block by block."""

    def conv_bn(x, name, number, **args):
        conv_name, bn = (f"{name}conv{number}", f"{name}bn{number}")
        if number is None:
            conv_name, bn = f"{name}downsample.0", f"{name}downsample.1"
        scale = weights[f"{bn}.weight"] / np.sqrt(weights[f"{bn}.running_var"] + 1e-5)
        y = conv(x, weights[f"{conv_name}.weight"], **args)
        return (y - weights[f"{bn}.running_mean"]) * scale + weights[f"{bn}.bias"]

    x = np.maximum(conv_bn(x, "body.", 1, stride=2), 0)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    x = sliding_window_view(padded, (3, 3), (0, 1))[::2, ::2].max(axis=(3, 4))
    outputs = []
    for number, blocks in enumerate((3, 4, 6, 3), start=1):
        for index in range(blocks):
            name, stride = f"body.layer{number}.{index}.", strides[number - 1] if index == 0 else 1
            skip = conv_bn(x, name, None, stride=stride) if f"{name}downsample.0.weight" in weights else x
            y = np.maximum(conv_bn(x, name, 1), 0)
            y = np.maximum(conv_bn(y, name, 2, stride=stride, dilation=rates[number - 1][index]), 0)
            x = np.maximum(conv_bn(y, name, 3) + skip, 0)
        outputs.append(x)
    return outputs


PLAIN = ((1, 1, 1), (1, 1, 1, 1), (1,) * 6, (1, 1, 1))


@pytest.mark.parametrize(
    "args, strides, rates",
    [
        ({}, (1, 2, 2, 2), PLAIN),
        (
            {"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1)},
            (1, 2, 1, 1),
            ((1, 1, 1), (1, 1, 1, 1), (1, 2, 2, 2, 2, 2), (2, 4, 4)),
        ),
        (
            {"dilations": (1, 1, 1, (1, 2, 4)), "strides": (1, 2, 2, 1)},
            (1, 2, 2, 1),
            (*PLAIN[:3], (1, 2, 4)),
        ),
    ],
    ids=["plain", "dilated stages", "a dilation for each block"],
)
def test_it_is_what_a_plain_computation_from_the_state_dictionary_gives(args, strides, rates):
    model = stages(width=1 / 16, **args)
    weights = fill(model)
    x = np.random.default_rng(1).random((41, 50, 3)).astype("float32")  # odd sides are rounded up at each stride
    for ours, expected in zip(model(x[None]), oracle(x, weights, strides, rates), strict=True):
        assert ours.shape[1:] == expected.shape
        assert np.abs(np.asarray(ours)[0] - expected).max() < 1e-5 * np.ptp(expected)


def test_it_has_the_parameters_and_names_of_torchvision():
    model = stages()
    # torchvision's 25,557,032 without the classifier's 2048 * 1000 + 1000.
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 23_508_032
    found = {name: tuple(variable.shape) for name, variable, _ in torch_names(model.layers)}
    assert len(found) == 53 * 5
    assert found["body.conv1.weight"] == (7, 7, 3, 64)
    assert found["body.layer3.0.downsample.0.weight"] == (1, 1, 512, 1024)
    assert found["body.layer4.2.bn3.running_var"] == (2048,)
    assert not any(name.startswith("body.layer2.1.downsample") for name in found)
    # Keras on PyTorch refuses dots in the names of layers.
    assert not any("." in layer.name for layer in model.layers)


def test_sizes_follow_the_strides_and_width_scales_the_channels():
    model = stages(width=0.125)
    shapes = [tuple(x.shape) for x in model(np.zeros((1, 64, 96, 3), "float32"))]
    assert shapes == [(1, 16, 24, 32), (1, 8, 12, 64), (1, 4, 6, 128), (1, 2, 3, 256)]


@pytest.mark.parametrize(
    "args, word",
    [({"dilations": (1, 1, 1)}, "four"), ({"dilations": (1, 1, 1, (1, 2))}, "3 blocks"), ({"strides": (2,)}, "four")],
)
def test_wrong_numbers_of_stages_or_blocks_are_refused(args, word):
    with pytest.raises(ValueError, match=word):
        stages(width=1 / 16, **args)
