"""Golden windows: token ids whose logits a bundle records, so that every later load can test its graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from authorid.bundle.manifest import Golden, Precision
from authorid.encoder.windows import Windower
from authorid.export.graph.graph_runner import GraphRunner, Ids

__all__ = ["golden_logits", "golden_windows"]

_COUNT = 4


def golden_windows(windower: Windower, length: int) -> list[Ids]:
    """Windows of random tokens, from one token to a full window of `length`; always the same ones, and no real text."""
    rng = np.random.default_rng(0)
    sizes = np.unique(np.geomspace(1, length - windower.special_tokens, _COUNT).round().astype(int))
    vocabulary = windower.tokenizer.get_vocab_size()
    return [windower.wrap(rng.integers(0, vocabulary, size, dtype=np.int32)) for size in sizes]


def golden_logits(windows: Sequence[Ids], runners: Mapping[Precision, GraphRunner]) -> tuple[Golden, ...]:
    """The windows with the logits that each of `runners` (by precision) computes for them."""
    return tuple(
        Golden(
            tuple(int(i) for i in ids),
            {name: tuple(float(x) for x in runner.run(ids[None])["logits"][0]) for name, runner in runners.items()},
        )
        for ids in windows
    )
