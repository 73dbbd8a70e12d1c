"""Two calibrations: static ranges for INT8 activations, and a temperature for probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, LayerWeights
from authorid.export.graph.builder import CPU, Dialect, Range, Ranges, activation_scale, emit, sites
from authorid.export.graph.graph_runner import GraphRunner, Ids, batched, document_scores
from authorid.export.quantize.gptq import round_to_inputs
from authorid.export.quantize.outliers import by_strip, divide_values, smooth, split_outliers
from authorid.scoring.posterior import log_softmax

__all__ = ["METHODS", "Calibration", "Method", "calibrate", "calibrations", "fit_temperature", "most_faithful"]

Method = Literal["min-max", "percentile", "mse"]
"""How the ends of a range are found: the smallest and largest value seen; those that leave the outermost
`_CLIPPED` of the values outside; or those that give the values of a sample the smallest squared error."""

METHODS: tuple[Method, ...] = get_args(Method)

_CLIPPED = 1e-4
_SHRUNK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What INT8 needs to know: `weights` to quantize and `ranges` of their matmul inputs.

    The weights are the trained ones, rounded (`round_to_inputs`) after outliers were tamed: emit these, not the trained
    ones, with these ranges, and in INT8 only. `windows` and `tokens` count what was looked at, the `draw`-th choice of
    windows. `tried` says how each did where there was a choice (`most_faithful`).
    """

    weights: EncoderWeights
    ranges: Ranges
    windows: int
    tokens: int
    split: int
    method: Method = "min-max"
    draw: int = 0
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Tells it from others of one export."""
        return self.method if not self.draw else f"{self.method}, draw {self.draw + 1}"

    def to_json(self) -> dict[str, Any]:
        """What provenance records; the ranges themselves are in the graph."""
        smoothed = sum(span.divisor is not None for span in self.ranges.values())
        return {
            "method": self.name,
            "windows": self.windows,
            "tokens": self.tokens,
            "smoothed_inputs": smoothed,
            "split_neurons": self.split,
            **({"tried": {method: dict(figures) for method, figures in self.tried.items()}} if self.tried else {}),
        }


def calibrate(weights: EncoderWeights, windows: Sequence[Ids], seed: int = 0) -> Calibration:
    """Run the float32 graph over `windows` (int32 [s] each) and find the range of every matmul input.

    Ranges are from the smallest to the largest value seen. Outliers are tamed where they are and as cheaply as can be:
    outputs of layer normalisations by dividing channels (`smooth`), those of attention too, by dividing the weights
    that make them (`divide_values`), outputs of GELU by splitting neurons (`split_outliers`) and by a scale for each
    strip of them (`by_strip`). Weights are rounded so that what they give for these windows changes least.
    """
    return calibrations(weights, windows, seed, ("min-max",))[0]


def calibrations(
    weights: EncoderWeights, windows: Sequence[Ids], seed: int = 0, methods: Sequence[Method] = METHODS
) -> list[Calibration]:
    """The same by every one of `methods`, in their order."""
    if not windows:
        raise ValueError("no windows to calibrate on")
    seen = _observe(weights, windows, np.random.default_rng(seed))
    split, neurons = split_outliers(weights, [seen[f"layer_{i}/ffn_inner"].high for i in range(len(weights.layers))])
    ranges: dict[str, Range] = {}
    samples = {site: values.sample for site, values in seen.items()}
    for index, (layer, own) in enumerate(zip(weights.layers, neurons, strict=True)):
        name = f"layer_{index}"
        site = f"{name}/ffn_inner"
        low, divisor = float(np.min(seen[site].low)), by_strip(own)
        ranges[site] = Range(low if divisor is None else low / float(divisor.min()), own.cap, divisor)
        samples[site] = own.outputs(samples[site])
        attention = np.hstack([layer.q.kernel, layer.k.kernel, layer.v.kernel])
        for site, kernel in ((f"{name}/input", attention), (f"{name}/ffn_input", layer.ffn_inner.kernel)):
            ranges[site] = smooth(kernel, seen[site].low, seen[site].high, seen[site].sample)
    layers = []
    for index, (layer, trained) in enumerate(zip(split.layers, weights.layers, strict=True)):
        site = f"layer_{index}/attention"
        span = smooth(layer.attention_output.kernel, seen[site].low, seen[site].high, seen[site].sample)
        if span.divisor is not None:
            layer, samples[site] = divide_values(layer, span.divisor), samples[site] / span.divisor
        ranges[site] = replace(span, divisor=None)
        exact = seen[f"layer_{index}/ffn_inner"].sample @ trained.ffn_output.kernel
        layers.append(_rounded(layer, f"layer_{index}", ranges, samples, exact))
    before, after = (sum(len(layer.ffn_inner.bias) for layer in w.layers) for w in (weights, split))
    split = replace(split, layers=tuple(layers))
    whole = Calibration(split, ranges, len(windows), sum(len(ids) for ids in windows), after - before)
    return [
        replace(whole, method=method, ranges={site: _narrowed(ranges[site], samples[site], method) for site in ranges})
        for method in methods
    ]


def _rounded(
    layer: LayerWeights, name: str, ranges: Ranges, samples: Mapping[str, Floats], exact: Floats
) -> LayerWeights:
    """The layer with all its kernels rounded (`round_to_inputs`); `exact` [t, h] is what its last one should give."""

    def rounded(dense: Dense, site: str, target: Floats | None = None) -> Dense:
        site = f"{name}/{site}"
        wanted = samples[site] @ dense.kernel if target is None else target
        return round_to_inputs(dense, ranges[site], samples[site], wanted)

    return replace(
        layer,
        q=rounded(layer.q, "input"),
        k=rounded(layer.k, "input"),
        v=rounded(layer.v, "input"),
        attention_output=rounded(layer.attention_output, "attention"),
        ffn_inner=rounded(layer.ffn_inner, "ffn_input"),
        ffn_output=rounded(layer.ffn_output, "ffn_inner", exact),
    )


def _narrowed(span: Range, sample: Floats, method: Method) -> Range:
    """The range of a matmul input by that method, from the one that holds everything."""
    if method == "min-max":
        return span
    values = np.clip(sample if span.divisor is None else sample / span.divisor, span.low, span.high).ravel()
    if method == "percentile":
        low, high = (float(end) for end in np.quantile(values, (_CLIPPED, 1 - _CLIPPED)))
        return replace(span, low=max(span.low, low), high=min(span.high, high))
    candidates = [replace(span, low=span.low * a, high=span.high * b) for a in _SHRUNK for b in _SHRUNK]
    return min(candidates, key=lambda candidate: _rounding(values, candidate))


def _rounding(values: Floats, span: Range) -> float:
    """Mean squared error of quantized values."""
    scale, zero = activation_scale(span.low, span.high)
    steps = np.clip(np.rint(values / scale), -float(zero), 255 - float(zero))
    return float(((steps * scale - values) ** 2).mean())


def most_faithful(
    found: Sequence[Calibration],
    expected: npt.NDArray[np.float32],
    windows: Sequence[Ids],
    documents: Sequence[Sequence[Any]],
    dialects: Sequence[Dialect] = (CPU,),
) -> Calibration:
    """The calibration whose INT8 graphs give most documents the author that float32 gives them.

    `expected` [n, authors] are the float32 logits of all `windows` of the `documents`, which should not be those
    that were calibrated on. There is a graph in each of `dialects`, and a calibration is as good as the worst of them.
    Where two do equally well, the one whose logits are nearer to those of float32 is taken.
    """
    tried: dict[str, dict[str, float]] = {}
    theirs = document_scores(expected, documents).argmax(axis=1)
    for calibration in found:
        agreements, differences = [], []
        for dialect in dialects:
            graph = emit(calibration.weights, "int8", calibration.ranges, dialect=dialect)
            logits = GraphRunner(graph).logits(windows)
            agreements.append(float((document_scores(logits, documents).argmax(axis=1) == theirs).mean()))
            differences.append(float(np.abs(logits - expected).mean()))
        tried[calibration.name] = {
            "agreement": round(min(agreements), 5),
            "mean_difference": round(max(differences), 5),
        }
    best = max(found, key=lambda c: (tried[c.name]["agreement"], -tried[c.name]["mean_difference"]))
    return replace(best, tried=tried)


@dataclass(slots=True)
class _Seen:
    """Smallest and largest value of each channel [c], and a sample of rows [n, c]."""

    low: Floats
    high: Floats
    sample: Floats


_SAMPLE = 4096
"""Tokens in a sample, about."""


def _observe(weights: EncoderWeights, windows: Sequence[Ids], rng: np.random.Generator) -> dict[str, _Seen]:
    runner = GraphRunner(emit(weights, "fp32", observe=True))
    alone: set[str] = set()
    if weights.head.pooling == "first":  # the last layer computes two tokens then, of which the first counts
        alone = {f"layer_{len(weights.layers) - 1}/{place}" for place in ("attention", "ffn_input", "ffn_inner")}
    groups = list(batched(windows))
    quota = -(-_SAMPLE // len(groups))
    seen: dict[str, _Seen] = {}
    for rows in groups:
        outputs = runner.run(np.stack([windows[i] for i in rows]))
        for site in sites(weights):
            states = outputs[site][:1] if site in alone else outputs[site]
            values = states.reshape(-1, states.shape[-1])
            kept = rng.permutation(len(values))[:quota]
            part = _Seen(values.min(axis=0), values.max(axis=0), values[kept])
            if site in seen:
                past = seen[site]
                part.low, part.high = np.minimum(past.low, part.low), np.maximum(past.high, part.high)
                part.sample = np.concatenate([past.sample, part.sample])
            seen[site] = part
    return seen


def fit_temperature(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], low: float = 0.02, high: float = 20.0
) -> float:
    """The temperature that minimises the negative log-likelihood of documents whose authors are known.

    `scores` [documents, authors] are mean log-softmaxes, `labels` [documents] the true authors. Golden-section
    search over the logarithm of the temperature; the loss has one minimum. Guo et al., "On Calibration of Modern
    Neural Networks", 2017. The targets are smoothed by 1 / (documents + 2), as in Platt's "Probabilistic Outputs for
    Support Vector Machines", 1999: without that, a handful of documents that are all answered rightly would ask for
    a temperature of zero.
    """
    documents, authors = scores.shape
    doubt = 1 / (documents + 2)
    targets = np.full((documents, authors), doubt / (authors - 1))
    targets[np.arange(documents), labels] = 1 - doubt

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(scores / np.exp(log_temperature))).sum(axis=1).mean())

    a, b = float(np.log(low)), float(np.log(high))
    ratio = (5**0.5 - 1) / 2
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    loss_c, loss_d = loss(c), loss(d)
    while b - a > 1e-4:
        if loss_c <= loss_d:
            b, d, loss_d = d, c, loss_c
            c = b - ratio * (b - a)
            loss_c = loss(c)
        else:
            a, c, loss_c = c, d, loss_d
            d = a + ratio * (b - a)
            loss_d = loss(d)
    return float(np.exp((a + b) / 2))
