"""A hole filled, then the whole frame regenerated: both parts leave their traces."""

from __future__ import annotations

import numpy as np
import pytest

from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import open_source

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (48, 64, 3), np.uint8)
MASK = np.zeros((48, 64), bool)
MASK[10:30, 10:40] = True


def test_it_is_the_second_after_the_first() -> None:
    source = open_source("latent:copy+renoised")
    frame = source.fill(PICTURE, MASK, np.random.default_rng(5))
    random = np.random.default_rng(5)
    filled = open_source("copy").fill(PICTURE, MASK, random)
    expected = open_source("renoised").fill(filled, MASK, random)
    np.testing.assert_array_equal(frame, expected)
    assert (frame[~MASK] != PICTURE[~MASK]).any(), "traces lie outside of the hole as well"
    assert source.whole_frame and not source.in_process and source.name == "latent-copy-renoised"
    assert set(source.settings) == {"copy", "renoised"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latent:copy", "takes FILLER\\+AUTOENCODER"),
        ("latent:renoised+copy", "fills holes, then an autoencoder"),
        ("latent:copy+patch", "fills holes, then an autoencoder"),
        ("latent:", "write latent:FILLER\\+AUTOENCODER"),
        ("latent:copi+renoised", "did you mean 'copy'"),
    ],
)
def test_what_is_no_pair_is_refused(text: str, message: str) -> None:
    with pytest.raises(FakeclfError, match=message):
        open_source(text)
