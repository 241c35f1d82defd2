"""Diffusion models by name, through the ``diffusers`` package."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from fakeclf.errors import FakeclfError
from segmentation.forgeries.inpainters import HoleSource, through_window

LARGEST = 1024
"""The most pixels a side that a pipeline sees."""

_MULTIPLE = 8


class DiffusersInpainter(HoleSource):
    """An inpainting pipeline, without a prompt unless one is set.

    It sees the picture padded to multiples of 8 by mirroring, up to ``LARGEST`` pixels a side (see
    ``inpainters.through_window``), and its answer is cut back to the picture's size. ``fill`` pastes it through the
    mask; ``frame`` is the pipeline's own picture, in which all pixels went through its decoder.

    Args:
        model: name on the model hub, or a folder.
        prompt: what to paint.
        steps: denoising steps.
        guidance: weight of the prompt.
        strength: share of the noise the hole starts with; 1 forgets what was there.

    Raises:
        FakeclfError: diffusers or torch is not installed, or the model cannot be opened.
    """

    in_process = True

    def __init__(
        self, model: str, *, prompt: str = "", steps: int = 30, guidance: float = 7.5, strength: float = 1.0
    ) -> None:
        diffusers, self._torch = _packages()
        cuda = self._torch.cuda.is_available()
        self._device = "cuda" if cuda else "cpu"
        dtype = self._torch.float16 if cuda else self._torch.float32
        try:
            pipeline = diffusers.AutoPipelineForInpainting.from_pretrained(model, torch_dtype=dtype)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise FakeclfError(
                f"diffusers cannot open {model!r} for inpainting ({reason}); name an inpainting model or its folder"
            ) from None
        self._pipeline = pipeline.to(self._device)
        self._pipeline.set_progress_bar_config(disable=True)
        self.name = f"diffusers-{model.rstrip('/').rpartition('/')[2]}"
        self._arguments = {
            "prompt": prompt,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "strength": strength,
        }
        self.settings: dict[str, Any] = {
            "model": model,
            "largest": LARGEST,
            "diffusers": diffusers.__version__,
            "torch": self._torch.__version__,
            "dtype": str(dtype),
            **self._arguments,
        }

    def frame(self, picture: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The pipeline's own picture; its noise is drawn from ``random``."""
        noise = self._torch.Generator(self._device).manual_seed(int(random.integers(2**31)))

        def run(seen: np.ndarray, hole: np.ndarray) -> np.ndarray:
            made = self._pipeline(
                image=Image.fromarray(seen),
                mask_image=Image.fromarray(hole.astype(np.uint8) * 255),
                height=seen.shape[0],
                width=seen.shape[1],
                generator=noise,
                output_type="pil",
                **self._arguments,
            )
            if any(getattr(made, "nsfw_content_detected", None) or ()):
                raise FakeclfError(f"the safety checker of {self.name} withheld a picture; leave that photograph out")
            painted = np.array(made.images[0].convert("RGB"))
            if painted.shape != seen.shape:
                raise FakeclfError(
                    f"{self.name} made {painted.shape[1]} x {painted.shape[0]} pixels of {seen.shape[1]} x "
                    f"{seen.shape[0]}; use a model that keeps the size"
                )
            return painted

        return through_window(picture, mask, run, multiple=_MULTIPLE, largest=LARGEST)


def _packages() -> tuple[Any, Any]:
    try:
        import diffusers
        import torch
    except ImportError as error:
        raise FakeclfError(
            f"sources diffusers:MODEL need {error.name}; install it with: pip install 'fakeclf[diffusers]'"
        ) from None
    return diffusers, torch
