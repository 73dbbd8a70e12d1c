"""Calibration: static ranges for the matmul inputs of INT8, and weights rounded for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.export.agreement import VerificationSet
from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, LayerWeights
from authorid.export.graph.builder import CPU, Dialect
from authorid.export.graph.emit import emit
from authorid.export.graph.graph_runner import GraphRunner, Ids, batched
from authorid.export.graph.int8 import LAYER_INPUTS, RANDOM_INPUT, Range, Ranges, Together, activation_names
from authorid.export.quantize.gptq import gptq
from authorid.export.quantize.outliers import SplitNeurons, divide_values, smooth, split_outliers, strip_divisor

__all__ = ["Calibration", "calibrate", "most_faithful"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What INT8 graphs are made from: `weights` to quantize and the `ranges` of their matmul inputs.

    The weights are the trained ones after outliers were reduced and kernels rounded (`gptq`). Emit them in INT8 only,
    and only with these ranges. `windows` and `tokens` count the calibration data, which was draw number `draw` (from
    0). `split_neurons` counts the neurons that were added. `tried` has, where there was a choice (`most_faithful`), the
    figures of every candidate by name.
    """

    weights: EncoderWeights
    ranges: Ranges
    windows: int
    tokens: int
    split_neurons: int
    draw: int = 0
    together: Together = 2
    tried: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The method, and the draw unless it is the first."""
        name = "min-max" if self.together == 2 else f"min-max, {self.together} products in 16 bits"
        return f"{name}, draw {self.draw + 1}" if self.draw else name

    def to_json(self) -> dict[str, Any]:
        """The record for a bundle's provenance; the ranges themselves are in the graph."""
        smoothed = sum(span.divisor is not None for span in self.ranges.values())
        return {
            "method": self.name,
            "windows": self.windows,
            "tokens": self.tokens,
            "smoothed_inputs": smoothed,
            "split_neurons": self.split_neurons,
            "products_in_16_bits": self.together,
            **({"tried": {method: dict(figures) for method, figures in self.tried.items()}} if self.tried else {}),
        }


def calibrate(weights: EncoderWeights, windows: Sequence[Ids], seed: int = 0, together: Together = 2) -> Calibration:
    """Run the float32 graph over `windows` (int32 [s] each) and find the range of every matmul input.

    A range goes from the smallest to the largest value; nothing is clipped. Outliers are reduced first: outputs of
    layer normalisations by dividing channels (`smooth`), outputs of attention by dividing the weights of the values
    (`divide_values`), outputs of GELU by splitting neurons (`split_outliers`) and by one scale for each strip of them
    (`strip_divisor`). Kernels are rounded so that their outputs for these windows change least (`gptq`). `seed` selects
    the tokens in the samples. `together` products are added in 16 bits (`added_with`). Raises `ValueError` when there
    are no windows.
    """
    if not windows:
        raise ValueError("no windows to calibrate on")
    observed = _observe(weights, windows, np.random.default_rng(seed))
    split, neurons = split_outliers(
        weights, [observed[f"layer_{i}/ffn_inner"].high for i in range(len(weights.layers))]
    )
    ranges: dict[str, Range] = {}
    layers = []
    for index, (trained, own) in enumerate(zip(weights.layers, neurons, strict=True)):
        part = {name: observed[f"layer_{index}/{name}"] for name in LAYER_INPUTS}
        layer, found = _calibrate_layer(trained, split.layers[index], own, part, together)
        layers.append(layer)
        ranges |= {f"layer_{index}/{name}": span for name, span in found.items()}
    head = weights.head
    random = []
    for number, dense in enumerate(head.random):
        seen = observed[RANDOM_INPUT.format(number)]
        span = ranges[RANDOM_INPUT.format(number)] = smooth(dense.kernel, seen.low, seen.high, seen.sample)
        random.append(gptq(dense, span, seen.sample, seen.sample @ dense.kernel, together))
    head = replace(head, random=tuple(random))
    before, after = (sum(len(layer.ffn_inner.bias) for layer in w.layers) for w in (weights, split))
    return Calibration(
        weights=replace(split, layers=tuple(layers), head=head),
        ranges=ranges,
        windows=len(windows),
        tokens=sum(len(ids) for ids in windows),
        split_neurons=after - before,
        together=together,
    )


def most_faithful(
    candidates: Iterable[Calibration],
    expected: npt.NDArray[np.float32],
    documents: VerificationSet,
    dialects: Sequence[Dialect] = (CPU,),
    enough: float = float("inf"),
) -> Calibration:
    """The candidate whose INT8 graphs agree best with float32 on `documents`, with all that were tried in its `tried`.

    The documents should not have been calibrated on; `expected` [n, classes] are the float32 logits of all their
    windows, in order. There is a graph in each of `dialects`, and the worst of them counts. A tie goes to the candidate
    with the smaller mean difference of logits, then to the first. No further candidate is tried when one agrees by
    `enough`.
    """
    windows = documents.windows
    found: list[Calibration] = []
    tried: dict[str, dict[str, float]] = {}
    for candidate in candidates:
        found.append(candidate)
        agreements, differences = [], []
        for dialect in dialects:
            graph = emit(candidate.weights, "int8", candidate.ranges, dialect=dialect)
            logits = GraphRunner(graph).logits(windows)
            agreements.append(documents.agreement(logits, expected))
            differences.append(float(np.abs(logits - expected).mean()))
        tried[candidate.name] = {
            "agreement": round(min(agreements), 5),
            "mean_difference": round(max(differences), 5),
        }
        if min(agreements) >= enough:
            break
    best = max(found, key=lambda c: (tried[c.name]["agreement"], -tried[c.name]["mean_difference"]))
    return replace(best, tried=tried)


_SAMPLE = 4096
"""Tokens in a sample, approximately."""


@dataclass(slots=True)
class _ObservedValues:
    """The smallest and largest value of each channel [c] of a matmul input, and a sample of its rows [n, c]."""

    low: Floats
    high: Floats
    sample: Floats


def _observe(weights: EncoderWeights, windows: Sequence[Ids], rng: np.random.Generator) -> dict[str, _ObservedValues]:
    """Run the float32 graph and collect the values of every matmul input, by its name."""
    runner = GraphRunner(emit(weights, "fp32", observe=True))
    first_only: set[str] = set()
    if weights.head.pooling == "first":  # the last layer then computes two tokens, and only the first one counts
        first_only = {f"layer_{len(weights.layers) - 1}/{name}" for name in ("attention", "ffn_input", "ffn_inner")}
    groups = list(batched(windows))
    quota = -(-_SAMPLE // len(groups))
    observed: dict[str, _ObservedValues] = {}
    for group in groups:
        outputs = runner.run(np.stack([windows[i] for i in group]))
        for name in activation_names(weights):
            states = outputs[name][:1] if name in first_only else outputs[name]
            values = states.reshape(-1, states.shape[-1])
            chosen = rng.permutation(len(values))[:quota]
            part = _ObservedValues(values.min(axis=0), values.max(axis=0), values[chosen])
            if name in observed:
                past = observed[name]
                part.low, part.high = np.minimum(past.low, part.low), np.maximum(past.high, part.high)
                part.sample = np.concatenate([past.sample, part.sample])
            observed[name] = part
    return observed


def _calibrate_layer(
    trained: LayerWeights,
    layer: LayerWeights,
    neurons: SplitNeurons,
    observed: Mapping[str, _ObservedValues],
    together: Together,
) -> tuple[LayerWeights, dict[str, Range]]:
    """Round a `layer` that was `trained` and then split into `neurons`; the ranges of its matmul inputs by name."""
    samples = {name: values.sample for name, values in observed.items()}
    exact = samples["ffn_inner"] @ trained.ffn_output.kernel
    low, divisor = float(np.min(observed["ffn_inner"].low)), strip_divisor(neurons)
    ranges = {"ffn_inner": Range(low if divisor is None else low / float(divisor.min()), neurons.cap, divisor)}
    samples["ffn_inner"] = neurons.outputs(samples["ffn_inner"])
    kernels = {
        "input": np.hstack([trained.q.kernel, trained.k.kernel, trained.v.kernel]),
        "ffn_input": trained.ffn_inner.kernel,
        "attention": trained.attention_output.kernel,
    }
    for name, kernel in kernels.items():
        ranges[name] = smooth(kernel, observed[name].low, observed[name].high, observed[name].sample)
    divisor = ranges["attention"].divisor
    if divisor is not None:
        layer, samples["attention"] = divide_values(layer, divisor), samples["attention"] / divisor
        ranges["attention"] = replace(ranges["attention"], divisor=None)

    def rounded(dense: Dense, name: str) -> Dense:
        return gptq(dense, ranges[name], samples[name], samples[name] @ dense.kernel, together)

    layer = replace(
        layer,
        q=rounded(layer.q, "input"),
        k=rounded(layer.k, "input"),
        v=rounded(layer.v, "input"),
        attention_output=rounded(layer.attention_output, "attention"),
        ffn_inner=rounded(layer.ffn_inner, "ffn_input"),
        ffn_output=gptq(layer.ffn_output, ranges["ffn_inner"], samples["ffn_inner"], exact, together),
    )
    return layer, ranges
