"""From what a model says to a probability, and from that to what is said of a picture.

A network's P(FAKE) ranks pictures well but is seldom a probability. Two numbers fitted on validation pictures make it
one, ``logit(calibrated) = logit(raw) / temperature + bias``; two more, chosen on the same pictures, say from where on a
picture is called fake and up to where real. All of them are kept in the model's card. NumPy and SciPy only.

Reference: Platt 1999, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood
methods"; Guo et al. 2017, "On Calibration of Modern Neural Networks".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from fakeclf import metrics
from fakeclf.errors import FakeclfError
from fakeclf.metrics import expit, logit

ERROR = 0.05
FALSE_POSITIVES = 0.01
TEMPERATURES = (0.05, 20.0)  # bounds: of scores that rank pictures the wrong way round it would be negative
SPLITS = ("validation", "train")
VOTERS = ("classifier", "ensemble", "localizer")
_RAW = metrics.SMALLEST
_CERTAIN = 1e-9  # no calibrated probability is nearer to 0 or 1, however large the logit


@dataclass(frozen=True)
class Calibration:
    """What turns a model's raw P(FAKE) into a probability and a word. All probabilities are calibrated P(FAKE).

    Attributes:
        temperature, bias: calibrated logit = raw logit / temperature + bias; raw clipped to [1e-7, 1 - 1e-7].
        threshold: a picture is ``fake`` where its probability reaches this; in (0, 1].
        false_positives: the share of REAL pictures that may be called fake, as asked.
        false_positives_reached: the share that is.
        recall: the share of FAKE pictures that is called fake.
        real_below: a picture is ``real`` below this, ``unsure`` from here up to ``threshold``; 0 where nothing is real.
        error: the share of FAKE pictures among those called real, as asked.
        band: share of all pictures that are ``unsure``.
        ece_before, ece_after, loss_before, loss_after: calibration error and log loss (nats) of the raw scores, and
            after a calibration fitted without the pictures that it is measured on.
        pictures, fakes, reals: how many it was fitted on.
        data, split: which.
        protocol: how it was made, a line each.
    """

    temperature: float
    bias: float
    threshold: float
    false_positives: float
    false_positives_reached: float
    recall: float
    real_below: float
    error: float
    band: float
    ece_before: float
    ece_after: float
    loss_before: float
    loss_after: float
    pictures: int
    fakes: int
    reals: int
    data: str
    split: str
    protocol: tuple[str, ...]

    @overload
    def apply(self, p_fake: float) -> float: ...
    @overload
    def apply(self, p_fake: np.ndarray) -> np.ndarray: ...
    def apply(self, p_fake: float | np.ndarray) -> float | np.ndarray:
        """Calibrated P(FAKE) of raw P(FAKE), both in [0, 1]; a number for a number, float64 of the same shape else."""
        calibrated = _apply(np.asarray(p_fake, np.float64), self.temperature, self.bias)
        return calibrated if np.ndim(p_fake) else float(calibrated)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a card."""
        return dataclasses.asdict(self) | {"protocol": list(self.protocol)}

    @classmethod
    def from_json(cls, values: Any, where: str = "card.json") -> Calibration:
        """What ``to_json`` gave; keys of later versions are left out.

        Raises:
            FakeclfError: ``values`` lacks a key or holds no number where one belongs; the message names it.
        """
        said = f"the calibration of {where}"
        again = "calibrate it again with `fakeclf models calibrate`"
        if not isinstance(values, dict):
            raise FakeclfError(f"{said} is of type {type(values).__name__}, not a dictionary; {again}")
        known = {item.name: item.type for item in dataclasses.fields(cls)}
        for name, kind in known.items():
            if name not in values:
                raise FakeclfError(f"{said} lacks {name!r}; {again}")
            value = values[name]
            if kind in ("int", "float") and not (isinstance(value, int | float) and math.isfinite(value)):
                raise FakeclfError(f"{said} has {name} = {value!r}, which is no number; {again}")
        if values["temperature"] <= 0:
            raise FakeclfError(f"{said} has temperature = {values['temperature']}, not above 0; {again}")
        return cls(**{name: values[name] for name in known} | {"protocol": tuple(values["protocol"])})

    def to_table(self) -> str:
        """Figures and protocol lines as plain text."""
        count = f"{self.pictures:,} pictures: {self.fakes:,} FAKE, {self.reals:,} REAL"
        called = f"{self.false_positives_reached:.2%} of REAL pictures, {self.recall:.2%} of FAKE ones"
        lines = [
            f"calibrated on {self.data} ({self.split}), {count}\n",
            f"temperature {self.temperature:.4f}, bias {self.bias:+.4f}",
            f"ECE   {self.ece_after:.4f} ({self.ece_before:.4f} before)",
            f"loss  {self.loss_after:.4f} ({self.loss_before:.4f} before)",
            f"fake from {self.threshold:.4f} on: {called}",
            f"real below {self.real_below:.4f}; unsure between: {self.band:.2%} of pictures\n",
            "How this was made:",
        ]
        return "\n".join([*lines, *(f"- {line}" for line in self.protocol)])


def fit(
    truth: ArrayLike,
    p_real: ArrayLike,
    *,
    error: float = ERROR,
    false_positives: float = FALSE_POSITIVES,
    data: str,
    split: str,
    notes: Sequence[str] = (),
) -> Calibration:
    """Fit temperature and bias by maximum likelihood, and choose threshold and band.

    Scores that separate the classes would be most likely at temperature 0. A prior keeps few pictures from certainty
    and is lost in many: the logarithm of the temperature is normal around 0 with standard deviation 1.

    Args:
        truth: 0 = FAKE, 1 = REAL, (n,).
        p_real: raw P(REAL) in [0, 1], (n,).
        error: at most this share of the pictures called real may be FAKE, in [0, 1).
        false_positives: at most this share of the REAL pictures may be called fake, in [0, 1).
        data, split: what the pictures are.
        notes: further protocol lines.

    Raises:
        FakeclfError: a class is missing, or a share is out of range.
        ValueError: the scores are no probabilities.
    """
    for name, share in (("error", error), ("false_positives", false_positives)):
        if not 0 <= share < 1:
            raise FakeclfError(f"{name} is a share of pictures, at least 0 and below 1 (0.05 = 5 %); received {share}")
    loss_before, ece_before = metrics.log_loss(truth, p_real), metrics.ece(truth, p_real)
    fake = np.asarray(truth).reshape(-1) == metrics.FAKE
    raw = 1.0 - np.asarray(p_real, np.float64).reshape(-1)
    fakes, reals = int(fake.sum()), int((~fake).sum())
    if not fakes or not reals:
        raise FakeclfError(
            f"calibration needs FAKE and REAL pictures; the {split} split of {data} has {fakes:,} FAKE and {reals:,} "
            "REAL that can be measured; choose another data set or split"
        )
    temperature, bias = _parameters(fake, raw)
    p_fake = _apply(raw, temperature, bias)
    threshold = _threshold(fake, p_fake, false_positives)
    real_below = _real_below(fake, p_fake, error, threshold)
    held_out, folds = _cross_fitted(fake, raw)
    made = Calibration(
        temperature=temperature,
        bias=bias,
        threshold=threshold,
        false_positives=false_positives,
        false_positives_reached=float(np.mean(p_fake[~fake] >= threshold)),
        recall=float(np.mean(p_fake[fake] >= threshold)),
        real_below=real_below,
        error=error,
        band=float(np.mean((p_fake >= real_below) & (p_fake < threshold))),
        ece_before=ece_before,
        ece_after=metrics.ece(truth, 1.0 - held_out),
        loss_before=loss_before,
        loss_after=metrics.log_loss(truth, 1.0 - held_out),
        pictures=len(fake),
        fakes=fakes,
        reals=reals,
        data=data,
        split=split,
        protocol=(),
    )
    return dataclasses.replace(made, protocol=(*_protocol(made, folds), *notes))


def for_card(
    truth: ArrayLike, p_real: ArrayLike, *, data: str, split: str = "validation", notes: Sequence[str] = ()
) -> dict[str, Any] | None:
    """What a training puts into its card: ``fit`` as plain values; None where a class is missing."""
    if len(np.unique(np.asarray(truth))) < 2:
        return None
    return fit(truth, p_real, data=data, split=split, notes=notes).to_json()


def calibrate(
    model: str | Path,
    dataset: str,
    *,
    split: str = "validation",
    error: float = ERROR,
    false_positives: float = FALSE_POSITIVES,
    limit: int | None = None,
    data_dir: str | Path | None = None,
    out: str | Path | None = None,
) -> Calibration:
    """Measure a bundle on a data set, fit its calibration, and keep it in the bundle's card.

    Args:
        model: the bundle's name or folder; a classifier, an ensemble or a localizer.
        dataset: as ``fakeclf.evaluate.evaluate`` takes it; for a localizer, pairs of picture and mask.
        split: ``validation``, split as for the model's training, or ``train``; test pictures are for measuring.
        error, false_positives: see ``fit``.
        limit: at most about so many pictures (pairs, for a localizer), evenly spaced.
        data_dir: where data sets lie.
        out: folder that gets ``reliability.png``, before and after; None draws nothing.

    Raises:
        FakeclfError: for an unknown model, data set or split, a model of another kind, or a class that is missing.
    """
    from fakeclf import bundle, plots
    from fakeclf.evaluate import evaluate
    from fakeclf.registry import resolve

    if split not in SPLITS:
        raise FakeclfError(f"calibration takes the split {' or '.join(SPLITS)}, test stays unseen; received {split!r}")
    card = bundle.read_card(model)
    if card.kind not in VOTERS:
        raise FakeclfError(f"{card.name} is of kind {card.kind!r}; {', '.join(VOTERS)} can be calibrated")
    notes = [] if limit is None else [f"at most about {limit:,} pictures were looked at, evenly spaced"]
    if card.kind == "ensemble":
        notes.append("half of the validation pictures of its own data sets may have fitted the ensemble's head")
    if card.kind == "localizer":
        measure = resolve("segmentation.calibration:measure")
        truth, p_real, data, more = measure(model, dataset, split=split, limit=limit, data_dir=data_dir)
        notes += more
    else:
        # Without the card's own calibration: a broken one is what this may be called to replace.
        measured = evaluate(model, dataset, split=split, limit=limit, data_dir=data_dir, calibrated=False)
        truth, p_real, data = measured.truth, measured.p_real, measured.data
    found = fit(truth, p_real, error=error, false_positives=false_positives, data=data, split=split, notes=notes)
    if out is not None:
        plots.calibration(truth, p_real, 1.0 - found.apply(1.0 - p_real), Path(out) / "reliability.png")
    bundle.set_calibration(model, found.to_json())
    return found


def _apply(raw: np.ndarray, temperature: float, bias: float) -> np.ndarray:
    calibrated = expit(logit(np.clip(raw, _RAW, 1.0 - _RAW)) / temperature + bias)
    return np.clip(calibrated, _CERTAIN, 1.0 - _CERTAIN)


def _parameters(fake: np.ndarray, raw: np.ndarray) -> tuple[float, float]:
    """Temperature and bias of the largest likelihood, under the prior that ``fit`` speaks of."""
    from scipy.optimize import minimize

    logits = logit(np.clip(raw, _RAW, 1.0 - _RAW))
    # On a scale of their own the logits make the two unknowns alike. Equal ones tell nothing of the temperature.
    middle, spread = float(logits.mean()), float(logits.std()) if np.ptp(logits) > 0 else 1.0
    scaled = (logits - middle) / spread

    def loss(unknown: np.ndarray) -> tuple[float, np.ndarray]:
        slope, offset = unknown
        called = slope * scaled + offset
        missed = expit(called) - fake
        cooler = math.log(slope / spread)  # -log(temperature)
        value = np.mean(np.logaddexp(0, called) - fake * called) + cooler**2 / (2 * len(fake))
        return float(value), np.array([np.mean(missed * scaled) + cooler / slope / len(fake), np.mean(missed)])

    found = minimize(
        loss,
        [spread, middle],  # temperature 1, bias 0
        jac=True,
        method="L-BFGS-B",
        bounds=[(spread / TEMPERATURES[1], spread / TEMPERATURES[0]), (None, None)],
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    slope, offset = found.x
    return float(np.clip(spread / slope, *TEMPERATURES)), float(offset - slope * middle / spread)


def _threshold(fake: np.ndarray, p_fake: np.ndarray, rate: float) -> float:
    """The lowest threshold that calls at most ``rate`` of the REAL pictures fake.

    It must lie above one score of a REAL picture; up to the next score that occurs, every threshold calls the same
    pictures. The middle of that gap in log-odds is taken: there the last digits of a score decide nothing.
    """
    reals = np.sort(p_fake[~fake])[::-1]
    allowed = int(np.sum(np.arange(1, reals.size + 1) / reals.size <= rate))
    spared = reals[allowed]
    above = p_fake[p_fake > spared]
    following = above.min() if above.size else expit(logit(spared) + 0.01)  # with none above, one that is close
    return float(np.clip(expit((logit(spared) + logit(following)) / 2), np.nextafter(spared, 1.0), following))


def _real_below(fake: np.ndarray, p_fake: np.ndarray, error: float, threshold: float) -> float:
    """The highest limit up to ``threshold`` below which at most ``error`` of the pictures are FAKE; 0 if none is."""
    limits = np.unique(np.append(p_fake[p_fake <= threshold], threshold))
    below = np.searchsorted(np.sort(p_fake), limits)
    fakes = np.searchsorted(np.sort(p_fake[fake]), limits)
    good = limits[(below > 0) & (fakes / np.maximum(below, 1) <= error)]
    return float(good.max()) if good.size else 0.0


def _cross_fitted(fake: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, int]:
    """Calibrated P(FAKE), each fold's from the others', and how many folds; 1: of a class with a single picture."""
    least = min(fake.sum(), (~fake).sum())
    if least < 2:
        return _apply(raw, *_parameters(fake, raw)), 1
    folds = 5 if least >= 10 else 2
    random = np.random.default_rng(0)
    fold = np.empty(len(fake), int)
    for one_class in (fake, ~fake):
        fold[one_class] = random.permutation(np.arange(one_class.sum()) % folds)
    calibrated = np.empty(len(fake))
    for held in (fold == number for number in range(folds)):
        calibrated[held] = _apply(raw[held], *_parameters(fake[~held], raw[~held]))
    return calibrated, folds


def _protocol(made: Calibration, folds: int) -> list[str]:
    (low, high), rate, error = TEMPERATURES, made.false_positives, made.error
    lines = [
        f"temperature and bias: maximum likelihood, with a weak prior on the temperature, which is held in [{low:g}, "
        f"{high:g}]; the probabilities hold where {made.fakes / made.pictures:.1%} of the pictures are FAKE, as here",
        f"threshold: the lowest at which at most {rate:.3g} of the REAL pictures are called fake, in the middle of the "
        "gap between two scores; rate, recall and band are of the pictures it was chosen on",
        f"band: below it at most {error:.3g} of the pictures are FAKE, from the threshold on a picture is called fake",
        f"ECE and loss after: cross-fitted in {folds} folds, each measured with what was fitted on the others"
        if folds > 1
        else "ECE and loss after: of the pictures it was fitted on, as a class has a single one; that is optimistic",
        "ECE: 15 equal bins of P(FAKE) against the share that is FAKE; loss: binary cross-entropy in nats",
    ]
    if made.temperature in TEMPERATURES:
        lines.append(f"the temperature is at its bound, {made.temperature:g}: the scores do not fit the classes well")
    if 0 < rate * made.reals < 1:
        needed = math.ceil(1 / rate)
        lines.append(f"a rate of {rate:.3g} cannot be told from {made.reals:,} REAL pictures; it takes {needed:,}")
    if made.real_below == 0:
        lines.append(f"no limit leaves at most {error:.3g} of FAKE pictures below it, so no picture is called real")
    return lines
